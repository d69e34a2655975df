"""Rates by the label that prompts bring, such as the types of XSTest."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raysafe.evaluation.metrics import Rate
from raysafe.report.drawing import Plot, canvas, label
from raysafe.report.markup import plain_table
from raysafe.report.panels.base import RATE, Absent, Subject, series
from raysafe.report.summary import TrialRow

BY_KIND = {"over_refusal": "over-refusal", "unsafe_refused": "unsafe refused", "asr_direct": "ASR direct"}
"""Figures that are told by kind where their prompts have several, and their titles."""


@dataclass(frozen=True)
class _Line:
    """The rate of one kind of prompts, over the trials of a series."""

    figure: str
    kind: str
    series: str
    rate: Rate


def by_kind(subject: Subject) -> list[Plot]:
    """A picture for each figure: for each kind of prompts and level of the setting that moves most a dot with its interval."""
    lines = _lines(subject)
    if not lines:
        raise Absent("needs a suite whose prompts are labelled with several kinds, as XSTest's are with types")
    styles = {name: style | {"linestyle": "none"} for name, style, _ in series(subject, subject.colour_key())}
    return [_picture([line for line in lines if line.figure == figure], styles) for figure in _distinct(lines, "figure")]


def table_by_kind(subject: Subject) -> str:
    """The same as numbers."""
    rows = [[BY_KIND[line.figure], line.kind, line.series, *_cells(line.rate)] for line in _lines(subject)]
    return plain_table(["figure", "kind", "trials", "rate", "interval", "prompts"], rows, 3)


def _cells(rate: Rate) -> list[str]:
    return [f"{rate.value:.2f}", f"{rate.low:.2f} – {rate.high:.2f}", str(rate.n)]


def _lines(subject: Subject) -> list[_Line]:
    """Nothing of a figure whose prompts are all of one kind."""
    from raysafe.evaluation.intervals import clustered

    found = []
    for name, _, rows in series(subject, subject.colour_key()):
        for figure, kinds in _values(subject, rows).items():
            rates = {kind: clustered([dict(enumerate(values))]) for kind, values in kinds.items()}
            found += [_Line(figure, kind, name, rate) for kind, rate in sorted(rates.items()) if len(rates) > 1]
    return sorted(found, key=lambda line: list(BY_KIND).index(line.figure))


def _values(subject: Subject, rows: Sequence[TrialRow]) -> Mapping[str, Mapping[str, list[float]]]:
    """By figure and kind each prompt's mean over the trials."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    kinds: dict[str, str] = {}
    for row in rows:
        for figure in BY_KIND:
            for prompt, value in subject.data.by_prompt(row.trial, figure).items():
                if prompt not in kinds:  # trials mostly have the same prompts: few tables are read for their labels
                    kinds |= {prompt: "", **_kinds_in(subject, row.trial)}
                values[figure, prompt].append(value)
    by_kind: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (figure, prompt), known in values.items():
        if kinds[prompt]:
            by_kind[figure][kinds[prompt]].append(sum(known) / len(known))
    return by_kind


def _kinds_in(subject: Subject, trial: str) -> Mapping[str, str]:
    from raysafe.evaluation.by_prompt import table_of

    table = table_of(subject.data.folder, trial)
    return table.kinds() if table is not None else {}


def _picture(lines: Sequence[_Line], styles: Mapping[str, Any]) -> Plot:
    title, kinds, names = BY_KIND[lines[0].figure], _distinct(lines, "kind"), _distinct(lines, "series")
    height = 90 + len(kinds) * (20 + 16 * len(names))
    picture = canvas(f"{title} by kind of prompt", x=f"{title}, {RATE}", legend=list(styles.items()), height=height)
    for line in lines:
        y = len(kinds) - 1 - kinds.index(line.kind) + 0.2 - 0.6 * names.index(line.series) / len(names)
        style, rate = styles[line.series], line.rate
        picture.axes.plot([rate.low, rate.high], [y, y], color=style["color"], linewidth=1.6, zorder=2)
        tip = f"{line.kind}, {line.series}\n{title} {rate.value:.2f}, {rate.n} prompts"
        picture.points([rate.value], [y], [tip], color=style["color"], marker=style["marker"], s=34)
    for place, kind in enumerate(reversed(kinds)):
        label(picture.axes, -0.02, place + 0.42, kind)
    picture.axes.set_yticks([])
    picture.axes.set_ylim(-0.6, len(kinds) - 0.3)
    picture.axes.set_xlim(-0.04, 1.04)
    picture.axes.grid(axis="y", visible=False)
    return picture.named(f"kinds-{lines[0].figure}")


def _distinct(lines: Sequence[_Line], name: str) -> list[str]:
    return list(dict.fromkeys(getattr(line, name) for line in lines))
