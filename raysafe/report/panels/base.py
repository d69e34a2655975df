"""What a panel is, and what several of them share: grouping trials, means over seeds, axes for settings and rates."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raysafe.report.answer import Answer
from raysafe.report.data import ReportData, mean_of
from raysafe.report.drawing import MOST_SERIES, MUTED, Plot, series_style
from raysafe.report.figures import head_of, is_share, unit_of
from raysafe.report.means import interval
from raysafe.report.naming import setting_text, trial_title
from raysafe.report.summary import TrialRow

MOST_DOTS = 200
"""Trials that are drawn one by one, each with a tip."""
LOG_FROM = 15
"""Numbers that span more than this are drawn on a logarithmic axis."""
RATE = "rate, 0 to 1"
AXES = {
    "selector.gamma": "γ, penalty strength",
    "selection.percent": "p, kept share of D (%)",
    "training.lr": "learning rate",
    "training.epochs": "epochs",
}
"""Settings whose axis says more than their name."""
BASE_STYLE = {"color": MUTED, "linestyle": (0, (1, 2)), "linewidth": 1.2}


class Absent(Exception):
    """A panel has nothing to draw; the message says why, for the page."""


@dataclass(frozen=True)
class Subject:
    """What panels draw from."""

    data: ReportData
    answer: Answer

    def levels(self, key: str) -> list[Any]:
        """Values of a swept setting among the scored trials, numbers by size."""
        found = {repr(row.swept.get(key)): row.swept.get(key) for row in self.data.compared}
        return sorted(found.values(), key=lambda value: (value is not None, *_rank(value)))

    @property
    def varied(self) -> list[str]:
        """Settings with more than one value."""
        return [key for key in self.data.names if len(self.levels(key)) > 1]

    def colour_key(self, without: Sequence[str] = ()) -> str | None:
        """The setting that colours tell apart: of those with few values the one that moves most."""
        keys = [key for key in self.varied if key not in without and len(self.levels(key)) <= MOST_SERIES]
        return max(keys, key=self._moves, default=None)

    def _moves(self, key: str) -> tuple[bool, float]:
        found = [effect for effect in self.answer.effects.effects if key in effect.factor]
        shown = [abs(effect.difference) for effect in found if effect.shown]
        return bool(shown), max(shown or [abs(effect.difference) for effect in found], default=0.0)

    def base(self, figure: str) -> float | None:
        """The untrained models' mean of a figure."""
        return mean_of(self.data.base, figure)


@dataclass(frozen=True)
class Panel:
    """A part of the page. `draw` raises Absent where it has nothing; `says` is what a reader needs to read it. `below`: the HTML
    that stands under the pictures. `compares`: whether it holds trials' figures against each other, which it does not for
    those of different evaluations."""

    key: str
    title: str
    says: str
    draw: Callable[[Subject], Sequence[Plot]]
    below: Callable[[Subject], str] = lambda subject: ""
    compares: bool = False


def all_of(*parts: Callable[[Subject], Sequence[Plot]]) -> Callable[[Subject], list[Plot]]:
    """A panel of several parts, of which each may be absent, but not all."""

    def draw(subject: Subject) -> list[Plot]:
        plots: list[Plot] = []
        missing: list[str] = []
        for part in parts:
            try:
                plots += part(subject)
            except Absent as absent:
                missing.append(str(absent))
        if not plots:
            raise Absent("; ".join(dict.fromkeys(missing)))
        return plots

    return draw


@dataclass(frozen=True)
class Spread:
    """A mean over seeds with its 95 % interval."""

    value: float
    low: float
    high: float
    seeds: int


def over_seeds(rows: Iterable[TrialRow], figure: str) -> Spread | None:
    """Mean of each seed's mean over the rows that have the figure; None if none has."""
    by_seed: dict[Any, list[tuple[float, float, float]]] = {}
    asked = [row for row in rows if figure in row.figures]
    for row in asked:
        by_seed.setdefault(row.replicate, []).append(_ends(row, figure))
    if not by_seed:
        return None
    per_seed = [tuple(sum(side) / len(found) for side in zip(*found, strict=True)) for found in by_seed.values()]
    values = [value for value, _, _ in per_seed]
    prompts = int(min(row.figures.get(f"{figure}_n") or row.figures.get(f"{head_of(figure)}_n", 1) for row in asked))
    low, high = interval(values, [(low, high) for _, low, high in per_seed], is_share(figure), prompts)
    return Spread(sum(values) / len(values), low, high, len(values))


def _ends(row: TrialRow, figure: str) -> tuple[float, float, float]:
    """A rate and its own interval, as the table has them."""
    value = float(row.figures[figure])
    return value, float(row.figures.get(f"{figure}_low", value)), float(row.figures.get(f"{figure}_high", value))


def split(rows: Iterable[TrialRow], key: str | None, levels: Sequence[Any]) -> list[list[TrialRow]]:
    """The rows of each level, all of them where there is no setting to split by."""
    rows = list(rows)
    return [[row for row in rows if row.swept.get(key) == level] for level in levels] if key else [rows]


def series(subject: Subject, key: str | None) -> list[tuple[str, dict[str, Any], list[TrialRow]]]:
    """(name, style, scored trials) of each level of the setting that colours tell apart."""
    levels = subject.levels(key) if key else [None]
    names = [f"{subject.data.names[key]} {setting_text(level)}" if key else "mean" for level in levels]
    parts = split(subject.data.compared, key, levels)
    return [(name, series_style(place), rows) for place, (name, rows) in enumerate(zip(names, parts, strict=True))]


def is_number(values: Iterable[Any]) -> bool:
    """Whether all are numbers, truth values not among them."""
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def axis_title(key: str, name: str) -> str:
    """What an axis of a setting is called."""
    return AXES.get(key, name)


def setting_axis(axes: Any, values: Sequence[Any]) -> list[float]:
    """Ticks at the values; returns where they lie: numbers at themselves, others side by side."""
    texts = [setting_text(value) for value in values]
    if not is_number(values):
        axes.set_xticks(range(len(values)), texts)
        axes.set_xlim(-0.5, len(values) - 0.5)
        _turn(axes, texts)
        return [float(place) for place in range(len(values))]
    numbers = [float(value) for value in values]
    if min(numbers) > 0 and max(numbers) / min(numbers) >= LOG_FROM:
        axes.set_xscale("log")
    kept = range(0, len(numbers), max(1, -(-len(numbers) // 8)))
    axes.set_xticks([numbers[place] for place in kept], [texts[place] for place in kept])
    axes.set_xticks([], minor=True)
    return numbers


def _turn(axes: Any, texts: Sequence[str]) -> None:
    """Names that are too long to stand side by side."""
    if sum(len(text) + 2 for text in texts) > 48:
        axes.set_xticks(axes.get_xticks(), [text if len(text) < 18 else text[:17] + "…" for text in texts])
        axes.tick_params(axis="x", labelrotation=20)


def rate_axis(axes: Any, values: Iterable[float], across: bool = False) -> None:
    """Limits around some rates, of at least a fifth of the scale, so that small differences are not blown up."""
    known = list(values) or [0.0, 1.0]
    low, high = min(known), max(known)
    room = max(0.2 - (high - low), 0.08 * (high - low), 0.02) / 2
    low, high = max(-0.02, low - room), min(1.02, high + room)
    if high - low < 0.2:
        low, high = (low, low + 0.2) if low <= 0 else (high - 0.2, high)
    (axes.set_xlim if across else axes.set_ylim)(low, high)
    axes.locator_params(axis="x" if across else "y", nbins=6, steps=[1, 2, 5, 10])
    (axes.xaxis if across else axes.yaxis).set_major_formatter(lambda value, _: f"{value:.2f}".rstrip("0").rstrip(".") or "0")


def unit_title(figure: str) -> str:
    """What an axis of a figure's values is called."""
    return "nats" if unit_of(figure) == "nats" else RATE


def value_axis(axes: Any, figure: str, values: Iterable[float]) -> None:
    """Limits around a figure's values: as `rate_axis` for shares, else as wide as they are."""
    if unit_of(figure) == "share":
        rate_axis(axes, values)
    else:
        axes.margins(y=0.08)
        axes.locator_params(axis="y", nbins=6)


def base_line(axes: Any, value: float | None) -> None:
    """Where the untrained model stands."""
    if value is not None:
        axes.axhline(value, zorder=1, **BASE_STYLE)


def tip(row: TrialRow, figures: Mapping[str, str]) -> str:
    """What a trial's point says: its settings, and some figures by name and title."""
    values = [f"{title} {row.figures[name]:.2f}" for name, title in figures.items() if name in row.figures]
    return "\n".join([trial_title(row.swept, row.seed, row.axes) or row.trial, *values])


def text_on(shade: float) -> str:
    """White or black, on a colour of viridis, 0 to 1; the same by day and by night."""
    return "#ffffff" if shade < 0.55 else "#15191d"


def _rank(value: Any) -> tuple[int, float, str]:
    number = isinstance(value, int | float)
    return (0, float(value), "") if number else (1, 0.0, str(value))
