"""The commands. Heavy imports happen inside each, so that `--help` and errors come at once."""

import argparse
import os
import sys
import textwrap
import traceback
from collections.abc import Sequence
from pathlib import Path

from raysafe.errors import RaysafeError

INTERRUPTED = 130


def build_parser() -> argparse.ArgumentParser:
    """The command line, as the contract has it."""
    parser = argparse.ArgumentParser(prog="raysafe", description="Sweeps of SEAL selection and DOOR / W-DOOR alignment on Ray.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--traceback", action="store_true", help="show Python's traceback of an error")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    sweep = commands.add_parser("sweep", parents=[common], help="run a sweep")
    _config_arguments(sweep)
    sweep.add_argument("--tracking-uri", metavar="URI", help="MLflow's store; sqlite in the storage folder if left out")
    sweep.add_argument("--resume", action="store_true", help="go on with an interrupted sweep")
    sweep.add_argument("--dry-run", action="store_true", help="print the plan and run nothing")

    trial = commands.add_parser("trial", parents=[common], help="run one trial; a `sweep` section in the file is left aside")
    _config_arguments(trial)

    select = commands.add_parser("select", parents=[common], help="rank and select only")
    _config_arguments(select)
    select.add_argument("--out", required=True, type=Path, metavar="FILE.parquet", help="where the selection goes")

    evaluate = commands.add_parser("evaluate", parents=[common], help="attack and score a checkpoint")
    evaluate.add_argument("model", metavar="MODEL", help="a Hugging Face model or adapter folder, or `sandbox`")
    _config_arguments(evaluate)
    evaluate.add_argument("--out", type=Path, metavar="FILE.json", help="also write the scores there")

    report = commands.add_parser("report", parents=[common], help="(re)build the tables of a sweep")
    report.add_argument("folder", metavar="DIR", type=Path, help="STORAGE/NAME of a finished or running sweep")

    ui = commands.add_parser("ui", parents=[common], help="MLflow's pages on a sweep's store, on loopback")
    ui.add_argument("--port", type=int, default=5000)
    ui.add_argument("--storage", type=Path, metavar="DIR")
    ui.add_argument("--tracking-uri", metavar="URI")
    return parser


def _config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE.yaml", help="the configuration")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="as training.epochs=2")
    parser.add_argument("--storage", type=Path, metavar="DIR", help="where results go (default: $RAYSAFE_STORAGE or runs)")
    parser.add_argument("--address", metavar="auto", help="a Ray cluster to join; without it Ray starts here")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    from raysafe import commands

    try:
        return getattr(commands, arguments.command)(arguments)
    except RaysafeError as error:
        if arguments.traceback:
            traceback.print_exc()
        print(paragraph(f"raysafe {arguments.command}: {error}"), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        if arguments.command == "sweep":
            print("\nInterrupted. The same command with --resume goes on; finished work is not done again.", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)  # at once: Ray's processes end with this one, and threads may still wait for them
    except BrokenPipeError:  # as in `raysafe report DIR | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def paragraph(text: str) -> str:
    """The text on lines of at most 120 characters, long words left whole so that paths can be copied."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    sys.exit(main())
