"""`raysafe chat`: a trial's model and the one that it started from, side by side."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from raysafe.commands.base import Command
from raysafe.commands.voice import printable
from raysafe.errors import ConfigError
from raysafe.report.live import LiveTable
from raysafe.sweep.signals import started

if TYPE_CHECKING:
    from raysafe.sweep.chatting import Answered

SIDE_BY_SIDE = 100
"""Columns from which on two answers stand beside each other."""


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("trial", metavar="TRIAL", help="a trial's folder, or SWEEP/TRIAL in the storage (quickstart/003)")
    parser.add_argument("--prompt", action="append", default=[], metavar="TEXT", help="ask this and end; may be repeated")
    parser.add_argument(
        "--prefill", default="", metavar="TEXT", help="the beginning of every answer, as if the model had said it"
    )
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help="longest answer (default: that of the trial's exam)")


def run(arguments: Namespace) -> int:
    voice = arguments.voice
    if arguments.max_new_tokens is not None and arguments.max_new_tokens < 1:
        raise ConfigError(f"--max-new-tokens takes a number of tokens, as 64, but got {arguments.max_new_tokens}.")
    live = LiveTable(voice.err)
    live.step(f"loading {arguments.trial} and the model that it started from")
    from raysafe.sweep.chatting import load_couple, trial_folder

    couple = load_couple(trial_folder(arguments.trial), arguments.max_new_tokens)
    told: list[dict[str, Any]] = []
    with started(lambda: None):  # a signal is raised, so that the terminal's line editor puts itself away
        for prompt in arguments.prompt or typed():
            trial, base = couple.ask(prompt, arguments.prefill)
            told.append({"prompt": prompt, "prefill": arguments.prefill, "trial": trial, "base": base})
            if arguments.prompt:
                voice.out.print(Text(f"\n> {prompt}", "bold"))
            show(couple.name, (trial, base), arguments.prefill, voice.out)
    last = [f"{len(told)} prompts answered"] if voice.quiet else []
    voice.end({"trial": couple.name, "answers": told}, *last)
    return 0


def typed() -> Iterator[str]:
    """Lines from the terminal, with its line editor, or from a pipe; empty ones are passed over."""
    if sys.stdin.isatty():
        import readline  # noqa: F401 (with it `input` edits lines and keeps a history)

        print("Type a prompt; Ctrl-D ends.", file=sys.stderr)
        with suppress(EOFError):
            while True:
                line = input("> ").strip()
                if line:
                    yield line
        return
    yield from (line.strip() for line in sys.stdin if line.strip())


def show(name: str, answers: tuple[Answered, Answered], prefill: str, console: Console) -> None:
    """Both answers, beside each other where there is room."""
    panels = [panel(title, answer, prefill) for title, answer in zip((name, "base"), answers, strict=True)]
    if console.width < SIDE_BY_SIDE:
        for one in panels:
            console.print(one)
        return
    table = Table.grid(expand=True)
    for _ in panels:
        table.add_column(ratio=1)
    table.add_row(*panels)
    console.print(table)


def panel(title: str, answer: Answered, prefill: str) -> Panel:
    """An answer under its model's name, with what the judge says; what was put into the model's mouth is underlined."""
    verdict = {True: "refusal", False: "no refusal", None: ""}[answer.refusal]
    style = "green" if answer.refusal else "yellow" if answer.refusal is not None else "dim"
    text = Text(printable(answer.answer) or "(nothing)")
    if prefill.strip() and answer.answer.startswith(prefill.strip()):
        text.stylize("underline", 0, len(prefill.strip()))
    return Panel(text, title=Text(title), subtitle=Text(verdict, style), title_align="left")


COMMAND = Command("a trial's model beside the one that it started from", arguments, run)
