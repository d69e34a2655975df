"""`raysafe judges check`: how judges hold up on harmless answers with known labels, said otherwise without being changed."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from raysafe.commands.base import Command, single

if TYPE_CHECKING:
    from raysafe.evaluation.checking import Held
    from raysafe.evaluation.judges import Judge

DEFAULT = ("phrases", "sandbox")


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("do", choices=["check"], metavar="check", help="how judges hold up")
    parser.add_argument("file", nargs="?", metavar="FILE.yaml", help="a configuration whose judges are checked")
    judge = "a judge's name, a YAML mapping of `name` and settings, or a .yaml file with one; may be given several times"
    parser.add_argument("--with", action="append", default=[], metavar="JUDGE", dest="judges", help=judge)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="as evaluation.judge=sandbox"
    )
    parser.add_argument("--count", type=int, default=16, metavar="N", help="questions of each role (default: 16)")


def run(arguments: Namespace) -> int:
    voice = arguments.voice
    from tempfile import TemporaryDirectory

    from raysafe.context import local_context
    from raysafe.errors import ConfigError
    from raysafe.evaluation.bills import Paid
    from raysafe.evaluation.checking import asked_of, check, check_order, known_answers, known_pairs
    from raysafe.evaluation.judges import placed
    from raysafe.evaluation.judges.local import holding

    if arguments.count < 2:
        raise ConfigError(f"--count takes 2 or more, but got {arguments.count}.")
    judges, known, pairs = judges_of(arguments), known_answers(arguments.count), known_pairs(arguments.count)
    for judge in judges:
        bill = (
            judge.bill([one.known.question for one in asked_of(judge, known)], [*pairs, *pairs])
            if isinstance(judge, Paid)
            else None
        )
        if bill is not None:
            voice.err.print(bill.line(judge.name), markup=False, highlight=False, soft_wrap=True)
    lines: list[Held] = []
    with TemporaryDirectory(prefix="raysafe-") as folder:
        for judge in judges:
            with holding():
                here = placed(judge, replace(local_context(), kept=Path(folder)))
                lines += [*check(here, known), check_order(here, pairs)]
    voice.out.print(held_table(lines))
    voice.end({"lines": [asdict(line) for line in lines]}, last_line(lines))
    return 0


def judges_of(arguments: Namespace) -> list[Judge]:
    """Those of the file and of `--with`; without either, those that need nothing. Raises ConfigError."""
    from raysafe.config.sections import EvaluationSettings
    from raysafe.errors import ConfigError
    from raysafe.evaluation.exam import judges_of as found_in
    from raysafe.sweep.judging_later import find_judge

    problems: list[str] = []
    settings: EvaluationSettings | None = single(arguments).trials[0].config.evaluation if arguments.file else None
    judges = found_in(settings, problems) if settings else []
    judges += [find_judge(given) for given in arguments.judges or (() if judges else DEFAULT)]
    if problems:
        raise ConfigError("; ".join(problems) + ".")
    return judges


def held_table(lines: Sequence[Held]) -> Table:
    """A line for every judge and perturbation: agreement and flips of each question."""
    asked = list(dict.fromkeys(line.hit for line in lines))
    table = Table(title="agrees with known labels/flips", caption=f"{_widest(lines)}; (n?): n without a verdict")
    for name in ("judge", "answer", *asked):
        table.add_column(name, no_wrap=True)
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for line in lines:
        rows.setdefault((line.judge, line.perturbation), {})[line.hit] = _cell(line)
    for (judge, answer), cells in rows.items():
        table.add_row(judge, answer, *(cells.get(hit, "") for hit in asked))
    return table


def _cell(line: Held) -> str:
    agrees, flips = (f"{rate.value:.2f}" if rate is not None else "-" for rate in (line.agrees, line.flips))
    return f"{agrees}/{flips}" + (f" ({line.none}?)" if line.none else "")


def _widest(lines: Sequence[Held]) -> str:
    rates = [rate for line in lines for rate in (line.agrees, line.flips) if rate is not None]
    half = max(((rate.high - rate.low) / 2 for rate in rates), default=0.0)
    return f"the widest 95 % interval is {half:.2f} to each side, all are in --json"


def last_line(lines: Sequence[Held]) -> str:
    """The worst of every judge."""
    told = []
    for name in dict.fromkeys(line.judge for line in lines):
        rated = [(line.agrees.value, line) for line in lines if line.judge == name and line.agrees is not None]
        if not rated:
            told.append(f"{name}: no verdict at all")
            continue
        agrees, line = min(rated, key=lambda one: one[0])
        told.append(f"{name} agrees least under `{line.perturbation}` ({line.hit}): {agrees:.2f}")
    return "; ".join(told)


COMMAND = Command("how judges hold up when answers are said otherwise", arguments, run)
