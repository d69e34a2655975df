"""Agreement between judges, suite by suite."""

from collections.abc import Mapping, Sequence
from typing import Any

from raysafe.report.drawing import MOST_SERIES, MUTED, Canvas, Plot, canvas, label, series_style
from raysafe.report.judges import ALL, HOW, SHOWN, Line, pooled, shown
from raysafe.report.markup import folded, items, plain_table
from raysafe.report.panels.base import Absent, Subject


def agreement(subject: Subject) -> list[Plot]:
    """Cohen's kappa of every two judges: a dot with its interval for all trials together, small dots for single trials."""
    lines = [line for line in subject.data.judges if line.found.of.kappa is not None]
    together = [line for line in lines if line.scope == ALL]
    if not subject.data.judges:
        raise Absent("one judge alone has nobody to agree with: `raysafe judge SWEEP --with JUDGE` adds one")
    if not together:
        raise Absent("kappa is undefined in every suite: both judges always say the same")
    suites = list(dict.fromkeys(line.found.suite for line in together))
    couples = list(dict.fromkeys(_couple(line) for line in together))[:MOST_SERIES]
    styles = {couple: series_style(place) | {"linestyle": "none"} for place, couple in enumerate(couples)}
    picture = canvas(
        "Agreement between judges", x="Cohen's κ", legend=list(styles.items()), height=90 + len(suites) * (20 + 16 * len(couples))
    )
    for row, suite in enumerate(reversed(suites)):
        label(picture.axes, -0.02, row + 0.42, suite)
        for place, couple in enumerate(couples):
            found = [line for line in lines if line.found.suite == suite and _couple(line) == couple]
            _draw(picture, found, row + 0.2 - 0.6 * place / len(couples), styles[couple])
    picture.axes.axvline(0.0, color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
    picture.axes.set_yticks([])
    picture.axes.set_ylim(-0.6, len(suites) - 0.3)
    lowest = min([0.0, *(line.found.of.low or 0.0 for line in together)])
    picture.axes.set_xlim(lowest - 0.05, 1.04)
    picture.axes.grid(axis="y", visible=False)
    return [picture.named("judges")]


def agreement_table(subject: Subject) -> str:
    """All trials together, and folded every trial."""
    lines = subject.data.judges
    single = [[line.scope, *shown(line)] for line in lines if line.scope != ALL]
    every = folded(f"Every trial ({len({row[0] for row in single})})", plain_table(["trial", *SHOWN], single, 3))
    return plain_table(SHOWN, [shown(line) for line in pooled(lines)], 2) + every + items([HOW])


def _couple(line: Line) -> str:
    return f"{line.found.judge}, {line.found.other}"


def _draw(picture: Canvas, lines: Sequence[Line], y: float, style: Mapping[str, Any]) -> None:
    """One pair of judges on one suite."""
    single = [line for line in lines if line.scope != ALL]
    kappas = [line.found.of.kappa or 0.0 for line in single]
    tips = [f"{line.scope}\nκ {line.kappa_text}, {line.found.of.n} answers" for line in single]
    picture.points(kappas, [y] * len(kappas), tips, color=style["color"], s=8, alpha=0.45)
    for line in lines:
        of = line.found.of
        if line.scope == ALL and of.kappa is not None:
            picture.axes.plot([of.low, of.high], [y, y], color=style["color"], linewidth=1.6, zorder=2)
            picture.points(
                [of.kappa], [y], [f"{_couple(line)}\nκ {line.kappa_text}"], color=style["color"], marker=style["marker"], s=34
            )
