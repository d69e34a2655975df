"""`raysafe report`: (re)build tables, plots and the page of a finished or running sweep."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from raysafe.commands.base import Command


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", type=Path, help="STORAGE/NAME of a finished or running sweep")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")


def run(arguments: Namespace) -> int:
    from rich.console import Console

    from raysafe.report.page import write_page
    from raysafe.report.table import print_report

    console = Console()
    print_report(arguments.folder, console)
    rankings = None
    if any((arguments.folder / "trials").glob("*/selection.parquet")):
        from raysafe.report.ranking_tables import print_rankings  # torch, which a folder without selections doesn't need
        from raysafe.report.rankings import read_rankings, write_rankings

        rankings = read_rankings(arguments.folder)
        write_rankings(rankings)
        print_rankings(rankings, console)
    page = write_page(arguments.folder, rankings)
    console.print(f"page  {page}", highlight=False, soft_wrap=True)
    if arguments.open:
        import webbrowser

        webbrowser.open(page.absolute().as_uri())
    return 0


COMMAND = Command("(re)build tables, plots and the page of a sweep", arguments, run)
