"""`raysafe sweep`: all trials of a file, or with `--dry-run` what they would be."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from raysafe.commands.base import Command, begin_live, config_arguments, options, program
from raysafe.commands.documents import sweep_document

if TYPE_CHECKING:
    from raysafe.cluster.running import SweepResult


def arguments(parser: ArgumentParser) -> None:
    config_arguments(parser)
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow's store; sqlite in the storage folder if left out")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted sweep")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and run nothing")


def run(arguments: Namespace) -> int:
    live, voice = begin_live(arguments), arguments.voice
    from raysafe.config.sweeps import load_sweep

    config = load_sweep(arguments.file, arguments.overrides)
    live.step(f"{len(config.trials)} trials; loading Ray")
    from raysafe.cluster.running import run_sweep
    from raysafe.report.ranking_tables import print_rankings
    from raysafe.report.rankings import read_rankings
    from raysafe.report.table import print_report
    from raysafe.sweep.plan import dry_run

    how = options(arguments)
    if arguments.dry_run:
        voice.end(dry_run(config, how.storage, voice.out, live.step), f"{len(config.trials)} trials; nothing was run")
        return 0
    result = run_sweep(config, how, live)
    print_report(result.folder, voice.out)
    print_rankings(read_rankings(result.folder), voice.out)
    link = link_of(result)
    told = {"tracking_uri": result.tracking_uri, "exit_code": result.exit_code, "compare": link}
    voice.end(sweep_document(result.folder) | told, *last_lines(arguments, result, link))
    return result.exit_code


def link_of(result: SweepResult) -> str | None:
    """The comparison of the sweep's trials in MLflow's pages, where its store knows the sweep by now."""
    from raysafe.tracking.links import comparison_link

    return comparison_link(result.tracking_uri, result.folder.name)


def last_lines(arguments: Namespace, result: SweepResult, link: str | None) -> list[str]:
    """Where to look, the folder first."""
    from raysafe.tracking.links import server_of

    storage = f" --storage {arguments.storage}" if arguments.storage else ""
    tracking = f" --tracking-uri {arguments.tracking_uri}" if arguments.tracking_uri else storage
    page, is_server = result.folder / "report.html", server_of(result.tracking_uri) is not None
    lines = [f"results   {result.folder}", *([f"report    {page}"] if page.exists() else [])]
    lines += [f"compare   {link}"] if link else []
    lines += [] if link and is_server else [f"{'' if link else 'compare':9s} {program()} ui {result.folder.name}{tracking}"]
    return lines + ([f"some trials failed: see {result.folder}/trials/*/error.txt"] if result.exit_code else [])


COMMAND = Command("run a sweep", arguments, run)
