"""Processes that tests start."""

import sys

RESET = "for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(number, signal.SIG_DFL)"


def listening(command):
    """The command, told to hear signals: a background job of a shell ignores Ctrl-C, and what it starts would inherit that."""
    return [sys.executable, "-c", f"import os, signal, sys\n{RESET}\nos.execv(sys.argv[1], sys.argv[1:])", *map(str, command)]
