"""`raysafe report`: (re)build the tables of a finished or running sweep."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from raysafe.commands.base import Command


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", type=Path, help="STORAGE/NAME of a finished or running sweep")


def run(arguments: Namespace) -> int:
    from rich.console import Console

    from raysafe.report.table import print_report

    console = Console()
    print_report(arguments.folder, console)

    from raysafe.report.ranking_tables import print_rankings  # torch and matplotlib: not for a folder that has no summary
    from raysafe.report.rankings import read_rankings, write_rankings

    rankings = read_rankings(arguments.folder)
    write_rankings(rankings)
    print_rankings(rankings, console)
    return 0


COMMAND = Command("(re)build the tables of a sweep", arguments, run)
