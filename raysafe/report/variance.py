"""Which source a figure's variance comes from: prompts, and the seeds of world, ranking and training; for every report."""

import csv
import io
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from raysafe.artifacts import write_text
from raysafe.report.figures import listed
from raysafe.report.naming import NONE
from raysafe.report.prompts import ByPrompt
from raysafe.report.summary import TrialRow, cell

if TYPE_CHECKING:
    from raysafe.evaluation.components import Component

VARIANCE = "variance.csv"
HEADLINE = ("win_rate", "safety_score", "over_refusal", "utility")
AXES = {"seed_world": "world", "seed_ranking": "ranking"}
NAMES = {
    "world": "world seed",
    "ranking": "ranking seed",
    "training": "training seed",
    "seed": "seed (world, ranking and training together)",
    "prompt": "prompt",
    "together": "interaction of the seeds",
    "rest": "",
}
"""Sources as a reader knows them; what is left is called by what could be told from it."""
REST = "the rest: answers by themselves"
PROMPT_AND_REST = "the rest: prompts and answers"
TRIAL_REST = "the rest: interaction of the seeds, answers"
HOW = (
    "Finished trials of the same settings, pooled over settings; method of moments. Of a value: one answer, or one trial where "
    "single prompts are not known. Of a mean: a setting's, over this sweep's prompts and seeds. df: degrees of freedom; with 5 "
    "of them a standard deviation is known at best to between .6 and 2.5 times itself."
)
SHOWN = ["figure", "source", "levels", "df", "sd of a value", "share", "sd of a mean", "share", "note"]
Seeds = tuple[int | None, ...]


@dataclass(frozen=True)
class Source:
    """A line of the table. `sd`: standard deviation that the source gives a single value (an answer's, or where prompts aren't
    known a trial's); `share`: of the sources' variances together; `sd_of_mean` and `share_of_mean`: the same of a setting's mean
    as this sweep has it, over its prompts and seeds. All are None where `note` says why it isn't measured."""

    figure: str
    source: str
    levels: int
    df: int
    sd: float | None = None
    share: float | None = None
    sd_of_mean: float | None = None
    share_of_mean: float | None = None
    note: str = ""


def variance_of(rows: Sequence[TrialRow], by_prompt: ByPrompt) -> list[Source]:
    """Components of every headline figure, over finished trials of the same settings, pooled over settings. Sources that one
    value can't tell are named, too."""
    done = [row for row in rows if row.status == "FINISHED"]
    known = [name for name in HEADLINE if any(name in row.figures for row in done)]
    for row in done:  # trial after trial, each of whose tables is then read once
        for name in known:
            by_prompt(row.trial, name)
    return [line for name in known for line in _of_figure([row for row in done if name in row.figures], name, by_prompt)]


def _of_figure(rows: Sequence[TrialRow], figure: str, by_prompt: ByPrompt) -> list[Source]:
    from raysafe.evaluation.components import TOGETHER, Crossed, components  # numpy, which a summary does without

    axes = [axis for column, axis in AXES.items() if any(column in row.axes for row in rows)]
    axes = [*axes, "training"] if axes else ["seed"]
    values = {row.trial: by_prompt(row.trial, figure) for row in rows}
    asked = all(values.values())
    settings: dict[str, dict[Seeds, Mapping[str, float]]] = defaultdict(dict)
    for row in rows:
        one = values[row.trial] if asked else {"": float(row.figures[figure])}
        settings[_setting(row)].setdefault(tuple(_seed(row, axis) for axis in axes), one)
    found = {one.source: one for one in components([Crossed.of(trials, axes) for trials in settings.values()])}
    sources = [*axes, *([TOGETHER] if TOGETHER in found else []), "prompt", "rest"]
    return [_line(figure, source, found, asked) for source in sources]


def _setting(row: TrialRow) -> str:
    return repr((sorted(row.swept.items(), key=str), row.figures.get("evaluation")))


def _seed(row: TrialRow, axis: str) -> int | None:
    return row.axes.get(f"seed_{axis}", row.seed)


def _line(figure: str, source: str, found: Mapping[str, "Component"], asked: bool) -> Source:
    """asked: whether single prompts are known, or trials alone."""
    name, one = NAMES[source], found.get(source)
    if source == "rest":
        name = REST if "prompt" in found else PROMPT_AND_REST if asked else TRIAL_REST
    if one is None:
        once = "each was asked once" if asked else "what single prompts gave is not known"
        why = {"prompt": once, "rest": "nothing is left over"}.get(source, "one value, or not to be told from another source")
        return Source(figure, name, 1, 0, note=f"not measured: {why}")
    total, in_mean = (sum(getattr(each, kind) for each in found.values()) for kind in ("variance", "of_mean"))
    shares = (one.variance / total if total else None, one.of_mean / in_mean if in_mean else None)
    return Source(figure, name, one.levels, one.df, math.sqrt(one.variance), shares[0], math.sqrt(one.of_mean), shares[1])


def write_variance(path: Path, lines: Sequence[Source]) -> None:
    """`variance.csv`: a line a figure and source; what is not measured is left empty, and `note` says why."""
    head = ",".join(item.name for item in fields(Source))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([cell(value) for value in astuple(line)] for line in lines)
    write_text(path, f"{head}\n{text.getvalue()}")


def markdown_variance(lines: Sequence[Source]) -> str:
    """The table for `report.md`, with what a reader must know; empty without a line."""
    if not lines:
        return ""
    rule = ["---"] * 2 + ["---:"] * 6 + ["---"]
    rows = [f"| {' | '.join(cells)} |" for cells in [SHOWN, rule, *map(shown, lines)]]
    return "\n" + "\n\n".join(["## Variance by source", "\n".join(rows), HOW]) + "\n"


def shown(line: Source) -> list[str]:
    """The line as tables have it."""
    titles = {figure.name: figure.title for figure in listed([])}
    numbers = [_number(line.sd), _percent(line.share), _number(line.sd_of_mean), _percent(line.share_of_mean)]
    return [titles[line.figure], line.source, str(line.levels), str(line.df), *numbers, line.note]


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{value:.0%}"
