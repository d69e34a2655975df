"""`raysafe sweep`: all trials of a file, or with `--dry-run` what they would be."""

from argparse import ArgumentParser, Namespace

from raysafe.commands.base import Command, config_arguments, options, program


def arguments(parser: ArgumentParser) -> None:
    config_arguments(parser)
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow's store; sqlite in the storage folder if left out")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted sweep")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and run nothing")


def run(arguments: Namespace) -> int:
    from rich.console import Console

    from raysafe.cluster.running import run_sweep
    from raysafe.config.sweeps import load_sweep
    from raysafe.report.ranking_tables import print_rankings
    from raysafe.report.rankings import read_rankings
    from raysafe.report.table import print_report
    from raysafe.sweep.plan import dry_run

    config, how, console = load_sweep(arguments.file, arguments.overrides), options(arguments), Console()
    if arguments.dry_run:
        dry_run(config, how.storage, console)
        return 0
    result = run_sweep(config, how)
    print_report(result.folder, console)
    print_rankings(read_rankings(result.folder), console)
    storage = f" --storage {how.storage}" if arguments.storage else ""
    tracking = f" --tracking-uri {how.tracking_uri}" if how.tracking_uri else storage
    console.print(f"\nresults   {result.folder}\ncompare   {program()} ui{tracking}", highlight=False, soft_wrap=True)
    if result.exit_code:
        console.print(f"[red]some trials failed:[/] see {result.folder}/trials/*/error.txt", soft_wrap=True)
    return result.exit_code


COMMAND = Command("run a sweep", arguments, run)
