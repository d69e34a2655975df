"""`raysafe report`: (re)build tables, plots and the page of a finished or running sweep."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from raysafe.commands.base import Command
from raysafe.commands.documents import sweep_document


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", type=Path, help="STORAGE/NAME of a finished or running sweep")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")


def run(arguments: Namespace) -> int:
    from raysafe.report.page import write_report
    from raysafe.report.table import print_report

    folder, voice = arguments.folder, arguments.voice
    print_report(folder, voice.out)
    rankings = None
    if any((folder / "trials").glob("*/selection.parquet")):
        from raysafe.report.ranking_tables import print_rankings  # torch, which a folder without selections doesn't need
        from raysafe.report.rankings import read_rankings, write_rankings

        rankings = read_rankings(folder)
        write_rankings(rankings)
        print_rankings(rankings, voice.out)
    page, answer = write_report(folder, rankings)
    if arguments.open:
        import webbrowser

        webbrowser.open(page.absolute().as_uri())
    told = {"page": str(page), "answer": answer.sentences, "notes": answer.notes}
    voice.end(sweep_document(folder) | told, f"report    {page}")
    return 0


COMMAND = Command("(re)build tables, plots and the page of a sweep", arguments, run)
