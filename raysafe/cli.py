"""The command line: a parser, one table of commands, and what becomes of errors."""

import argparse
import os
import sys
import textwrap
import traceback
from collections.abc import Sequence

from raysafe import __version__
from raysafe.commands import chat, data, evaluate, inspect, judge, judges, report, reproduce, select, status, sweep, trial, ui
from raysafe.commands.base import Command
from raysafe.commands.voice import Voice, voice_arguments
from raysafe.errors import RaysafeError
from raysafe.sweep.signals import leave, listening

GOODBYE = {"sweep": "Interrupted. The same command with --resume goes on; finished work is not done again."}
"""What an interrupted command says, where there is more to say than that."""

COMMANDS: dict[str, Command] = {
    "sweep": sweep.COMMAND,
    "trial": trial.COMMAND,
    "select": select.COMMAND,
    "evaluate": evaluate.COMMAND,
    "judge": judge.COMMAND,
    "judges": judges.COMMAND,
    "report": report.COMMAND,
    "ui": ui.COMMAND,
    "status": status.COMMAND,
    "inspect": inspect.COMMAND,
    "data": data.COMMAND,
    "chat": chat.COMMAND,
    "reproduce": reproduce.COMMAND,
}
"""Every command by name. Their files import what they use when they run, so that `--help` and errors come at once."""


def build_parser() -> argparse.ArgumentParser:
    """The command line, as the contract has it."""
    parser = argparse.ArgumentParser(prog="raysafe", description="Sweeps of SEAL selection and DOOR / W-DOOR alignment on Ray.")
    common = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--version", action="version", version=f"raysafe {__version__}")
    voice_arguments(common)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        command.arguments(commands.add_parser(name, parents=[common], help=command.help))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    voice = arguments.voice = Voice.of(arguments)
    with voice.speaking(), listening(GOODBYE.get(arguments.command, "Interrupted.")):
        try:
            return COMMANDS[arguments.command].run(arguments)
        except RaysafeError as error:
            if arguments.traceback:
                traceback.print_exc()
            print(paragraph(f"raysafe {arguments.command}: {error}"), file=sys.stderr)
            if voice.json:
                voice.end({"error": str(error), "exit_code": error.exit_code})
            return error.exit_code
        except KeyboardInterrupt:
            leave()
        except BrokenPipeError:  # as in `raysafe report DIR | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def paragraph(text: str) -> str:
    """The text on lines of at most 120 characters, long words left whole so that paths can be copied."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    sys.exit(main())
