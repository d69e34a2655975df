"""`raysafe inspect`: which rows a sweep's trials keep and leave, with their texts, and where the trials differ."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from raysafe.commands.base import Command, unsafe_text
from raysafe.commands.voice import printable
from raysafe.errors import DataError
from raysafe.report.live import shortened

if TYPE_CHECKING:
    from raysafe.sweep.inspecting import Agreement, RowSeen, TrialSeen

LINES_OF_A_TEXT = 2
NAMES = 8
"""Trials that are named where more keep the same rows."""


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("sweep", metavar="SWEEP", type=Path, help="a sweep's folder, or its name in the storage")
    parser.add_argument("--trial", metavar="T", help="one trial, by its name or the beginning of it (003)")
    parser.add_argument("--against", metavar="T", help="with --trial: the rows that one of the two keeps and the other doesn't")
    parser.add_argument("--rows", type=int, default=5, metavar="N", help="so many rows of each kind (default 5)")
    parser.add_argument("--full", action="store_true", help="whole texts, not their beginnings")


def run(arguments: Namespace) -> int:
    from raysafe.sweep.inspecting import named, selections_of, sweep_folder

    if arguments.against and not arguments.trial:
        raise DataError("--against compares two trials: name the other one with --trial.")
    if arguments.rows < 1:
        raise DataError(f"--rows takes a number of rows, as 5, but got {arguments.rows}.")
    folder, voice = sweep_folder(arguments.sweep), arguments.voice
    trials = selections_of(folder)
    head = {"sweep": folder.name, "folder": str(folder)}
    page = Page(voice.out, arguments.full)
    if arguments.against:
        pair = named(trials, arguments.trial), named(trials, arguments.against)
        document = between(folder, pair, arguments.rows, page)
    elif arguments.trial:
        document = of_trial(folder, named(trials, arguments.trial), trials, arguments.rows, page)
    else:
        document = of_sweep(folder, trials, arguments.rows, page)
    voice.end(head | document, *([f"{len(trials)} selections in {folder}"] if voice.quiet else []))
    return 0


def of_sweep(folder: Path, trials: Sequence[TrialSeen], count: int, page: Page) -> dict[str, Any]:
    """All trials: what each keeps, what they have in common, the rows that they disagree about, and what seeds agree on."""
    from raysafe.sweep.inspecting import agreement, alike, best_and_worst, by_setting, comparable, disputed, texts_of

    page.head(f"{folder.name}: {len(trials)} selections")
    for same in alike(trials):
        page.line(kept_text(same[0]))
        for trial in same[:NAMES]:
            page.line(f"    {shortened(trial.name, page.width - 4)}")
        if len(same) > NAMES:
            page.line(f"    and {len(same) - NAMES} more")
    groups = comparable(trials)
    companies = []
    for group in groups[:1]:
        common, texts = agreement(group), texts_of(folder, group[0])
        best, worst = best_and_worst(group, count, texts)
        page.rows("rows of best mean rank", best, len(group))
        page.rows("rows of worst mean rank", worst, len(group))
        rows = disputed(group, count, texts) if common.some else []
        page.head(common_text(common))
        if rows:
            page.rows(f"rows that trials disagree about, {len(rows)} of {common.some}", rows, len(group))
        page.note(texts.note)
        companies.append({**asdict(common), "best": best, "worst": worst, "disputed": rows, "note": texts.note})
    if len(groups) > 1:
        page.note(f"{len(trials) - len(groups[0])} trials selected from other rows, and are not compared with these.")
    seeds = [{"swept": group[0].swept, **asdict(agreement(group))} for group in by_setting(trials)]
    for one in seeds:
        settings = ", ".join(f"{key} {value}" for key, value in one["swept"].items()) or "all settings"
        page.line(f"{settings}: {one['all']} rows are kept by every one of {len(one['trials'])} seeds, {one['some']} by some")
    return {"trials": [_about(trial) for trial in trials], "compared": companies, "seeds": seeds}


def of_trial(folder: Path, trial: TrialSeen, trials: Sequence[TrialSeen], count: int, page: Page) -> dict[str, Any]:
    """One trial: its best and worst rows, and how its selection differs from the others'."""
    from raysafe.sweep.inspecting import comparable, texts_of, top_and_bottom

    texts = texts_of(folder, trial)
    top, bottom = top_and_bottom(trial, count, texts)
    page.head(f"{trial.name}: {kept_text(trial)}")
    page.rows("best rows", top)
    page.rows("worst rows", bottom)
    page.note(texts.note)
    (company,) = [group for group in comparable(trials) if trial in group]
    others = [other for other in company if other is not trial]
    counts = {o.name: [int((trial.kept_N & ~o.kept_N).sum()), int((o.kept_N & ~trial.kept_N).sum())] for o in others}
    same = [name for name, differing in counts.items() if differing == [0, 0]]
    if same:
        page.line(f"the same rows are kept by {', '.join(same)}")
    for name, (own, theirs) in counts.items():
        if own or theirs:
            page.line(f"  {shortened(name, page.width // 2)}: {own} rows are kept here only, {theirs} there only")
    return {"trials": [{**_about(trial), "top": top, "bottom": bottom}], "differs": counts, "note": texts.note}


def between(folder: Path, pair: tuple[TrialSeen, TrialSeen], count: int, page: Page) -> dict[str, Any]:
    """Two trials: what one keeps and the other doesn't. Raises DataError where they selected from different rows."""
    from raysafe.sweep.inspecting import comparable, kept_by_one, texts_of

    if len(comparable(pair)) > 1:
        raise DataError(f"{pair[0].name} and {pair[1].name} selected from different rows: they can't be compared row by row.")
    told = {}
    for one, other in (pair, pair[::-1]):
        texts = texts_of(folder, one)
        total = int((one.kept_N & ~other.kept_N).sum())
        rows = kept_by_one(one, other, count, texts)
        page.head(f"{one.name}: {kept_text(one)}")
        page.rows(f"rows that {other.name} doesn't keep, {len(rows)} of {total}", rows)
        page.note(texts.note)
        told[one.name] = {"only": total, "rows": rows}
    return {"trials": [_about(one) for one in pair], "between": told}


def kept_text(trial: TrialSeen) -> str:
    """`320 of 400 rows kept, 1.2% of them unsafe`."""
    selection = trial.selection
    return f"{len(selection.rows)} of {selection.total} rows kept{unsafe_text(selection.unsafe_share)}"


def common_text(common: Agreement) -> str:
    """What several trials have in common, in a sentence."""
    return f"{len(common.trials)} trials agree: {common.all} rows all keep, {common.none} none; {common.some} some keep"


def _about(trial: TrialSeen) -> dict[str, Any]:
    selection = trial.selection
    own = {"trial": trial.name, "swept": trial.swept, "seed": trial.seed, "fingerprint": selection.fingerprint}
    return own | {"rows": selection.total, "selected": len(selection.rows), "unsafe_selected": selection.unsafe_share}


class Page:
    """Where rows are shown: a line of facts, then prompt and answer below each other, as much as two lines hold of each."""

    def __init__(self, console: Console, full: bool) -> None:
        self.console, self.full, self.width = console, full, min(console.width, 120)

    def head(self, text: str) -> None:
        """A heading."""
        self.console.print(Text(f"\n{text}", "bold"), soft_wrap=True)

    def line(self, text: str) -> None:
        """A line of its own."""
        self.console.print(text, markup=False, highlight=False)

    def note(self, text: str) -> None:
        """What one must know."""
        if text:
            self.console.print(Text(text, "yellow"))

    def rows(self, title: str, rows: Sequence[RowSeen], trials: int = 0) -> None:
        """Rows under a title. `trials`: of how many those are that keep a row."""
        self.console.print(Text(f"\n{title}", "bold cyan"))
        for row in rows:
            self.console.print(facts(row, trials), soft_wrap=True)
            if row.prompt is None:
                self.console.print(Text("       its text is no longer there", "dim"))
            for name, text in (("asked", row.prompt), ("answer", row.response)):
                if text is not None:
                    self._text(name, text)

    def _text(self, name: str, text: str) -> None:
        room = self.width - 15
        shown = printable(text if self.full else clipped(text, room * LINES_OF_A_TEXT))
        for place, rest in enumerate(Text(shown).wrap(self.console, room)):
            rest.rstrip()
            self.console.print(Text(f"       {name if place == 0 else '':7s}", "dim").append_text(rest), soft_wrap=True)


def facts(row: RowSeen, trials: int) -> Text:
    """`#1  row 17  +0.0123  kept  unsafe  kind`."""
    line = Text(f"  {f'#{row.rank}' if row.rank is not None else '':>5s} row {row.row}")
    if row.score is not None:
        line.append(f"  {row.score:+.4g}")
    if row.kept is not None:
        line.append("  kept" if row.kept else f"  left out: {row.reason}", "green" if row.kept else "yellow")
    if trials:
        line.append(f"  kept by {len(row.kept_by)} of {trials}", "cyan")
    if row.unsafe is not None:
        line.append("  unsafe" if row.unsafe else "  safe", "red" if row.unsafe else "green")
    for label in (row.kind, row.source):
        line.append(f"  {label}" if label and label != "unsafe" else "", "dim")
    return line


def clipped(text: str, most: int) -> str:
    """The beginning of a text, on one line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


COMMAND = Command("rows that trials keep and leave, and where they differ", arguments, run)
