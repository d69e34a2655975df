"""`raysafe status`: what runs, how far, how long yet."""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from raysafe.commands.base import Command
from raysafe.report.live import clock_text, states_table, visible
from raysafe.sweep.places import default_storage
from raysafe.sweep.status import SweepStatus, statuses

STYLES = {"running": "cyan", "starting": "cyan", "finished": "green", "interrupted": "yellow"}
SILENT_S = 15.0
"""After so many seconds without a word of its driver it is said how long ago the last one was."""


def arguments(parser: ArgumentParser) -> None:
    what = "STORAGE/NAME of a sweep, or a storage (default: $RAYSAFE_STORAGE or runs)"
    parser.add_argument("folder", metavar="DIR", nargs="?", type=Path, help=what)


def run(arguments: Namespace) -> int:
    where, voice = arguments.folder or default_storage(), arguments.voice
    found = statuses(where)
    for one in found:
        show(one, voice.out, whole=len(found) == 1 or one.state == "running")
    running = sum(one.state in ("running", "starting") for one in found)
    last = f"{len(found)} sweeps in {where}, {running} running" if found else f"no sweep in {where}"
    voice.end({"sweeps": [document(one) for one in found]}, *([last] if len(found) != 1 or voice.quiet else []))
    return 0


def show(one: SweepStatus, console: Console, whole: bool) -> None:
    """A line, and with `whole` its trials and what runs below it."""
    now = one.progress
    at_work = sum(trial.status == "RUNNING" for trial in now.trials)
    failed = (f", {at_work} running" if at_work else "") + (f", {now.failed} failed" if now.failed else "")
    left = f", about {clock_text(now.left_s)} left" if now.left_s else ""
    elapsed = f", {clock_text(now.elapsed_s)}" if now.elapsed_s else ""
    head = Text.assemble((one.folder.name, "bold"), "  ", (one.state, STYLES[one.state]))
    console.print(head.append(f"  {now.done} of {len(now.trials)} trials done{failed}{elapsed}{left}"), soft_wrap=True)
    if whole and now.trials:
        console.print(states_table(visible(now.trials, len(now.trials)), console.width))
    lines = [now.waiting, now.stages_line() if one.state == "running" else "", *(f"warning: {text}" for text in now.warnings)]
    if one.state == "running" and one.said_s is not None and one.said_s > SILENT_S:
        lines.append(f"its driver's last word was {clock_text(one.said_s)} ago")
    if one.driver is not None and one.driver.process:
        lines.append(f"since {one.driver.since}, on {one.driver.host}, as process {one.driver.process}")
    if one.resume:
        lines.append(f"goes on with: {one.resume}")
    for line in filter(None, lines if whole or one.resume else []):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def document(one: SweepStatus) -> Mapping[str, Any]:
    """A sweep's status as plain values."""
    now = one.progress
    counts = {"total": len(now.trials), "done": now.done, "failed": now.failed}
    times = {"elapsed_s": now.elapsed_s, "left_s": now.left_s, "said_s": one.said_s}
    who = {"sweep": one.folder.name, "folder": str(one.folder), "state": one.state, "driver": one.driver, "resume": one.resume}
    rest = {"waiting": now.waiting, "stages": now.stages, "stages_made": now.made, "warnings": now.warnings}
    return {**who, **counts, **times, **rest, "trials": now.trials}


COMMAND = Command("what runs, how far, how long yet", arguments, run)
