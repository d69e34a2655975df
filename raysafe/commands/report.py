"""`raysafe report`: (re)build tables, plots and the page of a finished or running sweep; tell MLflow what it has missed."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from raysafe.commands.base import Command
from raysafe.commands.documents import sweep_document
from raysafe.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from raysafe.report.answer import Answer
    from raysafe.sweep.syncing import Synced


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", type=Path, help="STORAGE/NAME of a finished or running sweep")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    parser.add_argument("--sync", action="store_true", help="then tell MLflow what it has missed of the sweep")
    parser.add_argument("--tracking-uri", metavar="URI", help="with --sync: MLflow's store; sqlite beside DIR if left out")


def run(arguments: Namespace) -> int:
    if arguments.tracking_uri and not arguments.sync:
        raise ConfigError("--tracking-uri: says whom --sync tells. Add --sync, or leave it out.")
    folder, voice = arguments.folder, arguments.voice
    page, answer = rebuilt(folder, voice.out)
    if arguments.open:
        import webbrowser

        webbrowser.open(page.absolute().as_uri())
    synced = tell_missed(arguments) if arguments.sync else None
    told = {"page": str(page), "answer": answer.sentences, "notes": answer.notes}
    if synced is None:
        voice.end(sweep_document(folder) | told, f"report    {page}")
        return 0
    record = {"store": synced.store, "told": synced.told, "missing": synced.missing, "refused": synced.refused}
    voice.end(sweep_document(folder) | told | {"synced": record}, f"report    {page}", f"MLflow    {synced}")
    return synced.exit_code


def rebuilt(folder: Path, console: Console) -> tuple[Path, Answer]:
    """Print the tables and write the page; returns it, and its answer."""
    from raysafe.report.page import write_report
    from raysafe.report.table import print_report

    print_report(folder, console)
    rankings = None
    if any((folder / "trials").glob("*/selection.parquet")):
        from raysafe.report.ranking_tables import print_rankings  # torch, which a folder without selections doesn't need
        from raysafe.report.rankings import read_rankings, write_rankings

        rankings = read_rankings(folder)
        write_rankings(rankings)
        print_rankings(rankings, console)
    return write_report(folder, rankings)


def tell_missed(arguments: Namespace) -> Synced:
    """Tell MLflow what it has missed; what it will never take is said at once."""
    from raysafe.sweep.syncing import sync  # MLflow, which nothing else here needs

    voice = arguments.voice
    voice.err.print("telling MLflow what it has missed", style="dim")
    synced = sync(arguments.folder, arguments.tracking_uri)
    for text in synced.refused:
        voice.err.print(f"MLflow won't take: {text}", style="yellow", markup=False, soft_wrap=True)
    return synced


COMMAND = Command("(re)build tables, plots and the page of a sweep", arguments, run)
