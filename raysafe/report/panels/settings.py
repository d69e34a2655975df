"""Swept settings against figures: differences with intervals, small multiples, heat maps of two settings."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from raysafe.report.answer import change, level_text
from raysafe.report.drawing import COLOURS, MUTED, PAPER, Canvas, Plot, canvas, label, small
from raysafe.report.effects import Effect
from raysafe.report.figures import Unit, unit_of
from raysafe.report.naming import setting_text
from raysafe.report.panels.base import (
    BASE_STYLE,
    MOST_DOTS,
    Absent,
    Subject,
    axis_title,
    base_line,
    is_number,
    over_seeds,
    series,
    setting_axis,
    split,
    text_on,
    tip,
    unit_title,
    value_axis,
)
from raysafe.report.summary import TrialRow

UNITS: tuple[Unit, ...] = ("share", "nats")
"""Of figures that are compared, each on a scale of its own."""
MOST_HEAT_PAIRS = 3
LEAST_SPAN = 1.0
"""Nats that a map's colours span at least, so that small differences are not blown up."""
MOST_CELLS = 10
"""Levels of either setting up to which each cell of a heat map has its number."""


def differences(subject: Subject) -> list[Plot]:
    """A picture a factor: for each figure its largest difference between two levels."""
    if not subject.answer.effects.effects:
        raise Absent("no two levels of a setting can be compared yet")
    factors = list(enumerate(subject.answer.effects.factors))
    plots = [_forest(subject, factor, place, unit) for unit in UNITS for place, factor in factors]
    return [plot for plot in plots if plot is not None]


def _forest(subject: Subject, factor: tuple[str, ...], place: int, unit: Unit) -> Plot | None:
    """Of the figures of one unit; None where none was compared."""
    found = [effect for effect in subject.answer.effects.by_factor[factor] if unit_of(effect.figure) == unit]
    if not found:
        return None
    largest: dict[str, Effect] = {}
    for effect in found:
        largest.setdefault(effect.figure, effect)
    shown = [largest[figure] for figure in subject.answer.titles if figure in largest]
    name = " and ".join(subject.data.names[key] for key in factor)
    what = "difference of two levels" + ("" if unit == "share" else f", {unit}")
    picture = canvas(f"{name}: largest difference of each figure", x=what, height=70 + 31 * len(shown))
    farthest = max(max(abs(effect.low), abs(effect.high)) for effect in shown)
    reach = farthest if unit != "share" and farthest > 0 else 1.0  # two trials that share their training differ in nothing
    axes = picture.axes
    axes.axvline(0, color=MUTED, linewidth=1)
    for line, effect in enumerate(reversed(shown)):
        colour = COLOURS[1] if effect.shown else MUTED
        axes.plot([effect.low, effect.high], [line, line], color=colour, linewidth=2, solid_capstyle="butt")
        text = f"{subject.answer.titles[effect.figure]}: {level_text(effect.levels[0])} to {level_text(effect.levels[1])}"
        picture.points(
            [effect.difference],
            [line],
            [change(effect, subject.answer.titles)],
            color=colour,
            marker="o" if effect.shown else "D",
        )
        label(axes, -1.02 * reach, line + 0.42, text)
    axes.set_yticks([])
    if unit == "share":
        axes.set_xticks([-1, -0.5, 0, 0.5, 1], ["−1", "−0.5", "0", "+0.5", "+1"])
    axes.set_ylim(-0.5, len(shown) - 0.25)
    axes.set_xlim(-1.05 * reach, 1.05 * reach)
    axes.grid(axis="y", visible=False)
    beside = "" if unit == "share" else f"-{unit}"
    return picture.named(f"differences-{place}-{name.replace(' ', '-')}{beside}")


def by_setting(subject: Subject) -> list[Plot]:
    """A picture a setting and figure."""
    if not subject.varied:
        raise Absent("no setting has two values among the trials that have ended")
    return [_multiple(subject, key, figure) for key in subject.varied for figure in subject.answer.titles]


def _multiple(subject: Subject, key: str, figure: str) -> Plot:
    colour, title, name = subject.colour_key((key,)), subject.answer.titles[figure], subject.data.names[key]
    lines, base, levels = series(subject, colour), subject.base(figure), subject.levels(key)
    legend = [(text, style) for text, style, _ in lines] if colour else []
    legend += [("base model", BASE_STYLE)] if base is not None else []
    picture = canvas(f"{title} over {name}", x=axis_title(key, name), y=unit_title(figure), legend=legend)
    places = setting_axis(picture.axes, levels)
    base_line(picture.axes, base)
    reached = [base] if base is not None else []
    for number, (_, style, rows) in enumerate(lines):
        beside = {} if is_number(levels) else {"linestyle": "none"}
        shift = 0.5 * ((number + 0.5) / len(lines) - 0.5) if beside else 0.0
        parts = dict(zip((place + shift for place in places), split(rows, key, levels), strict=True))
        reached += _line(subject, picture, style | beside, parts, figure)
    value_axis(picture.axes, figure, reached)
    return picture.named(f"setting-{name}-{figure}")


Parts = Mapping[float, list[TrialRow]]
"""Trials by their place along the axis."""


def _line(subject: Subject, picture: Canvas, style: Mapping[str, Any], parts: Parts, figure: str) -> list[float]:
    """Means with their intervals, and single trials where there are several a mean; returns what the axis must hold."""
    known = {place: spread for place, rows in parts.items() if (spread := over_seeds(rows, figure))}
    dots = [(place, row) for place, rows in parts.items() for row in rows if figure in row.figures]
    if len(known) < len(dots) and len(subject.data.compared) <= MOST_DOTS:
        tips = [tip(row, {figure: subject.answer.titles[figure]}) for _, row in dots]
        at, values = [place for place, _ in dots], [row.figures[figure] for _, row in dots]
        picture.points(at, values, tips, color=style["color"], s=10, alpha=0.5, linewidths=0, zorder=2)
    low, high = [spread.low for spread in known.values()], [spread.high for spread in known.values()]
    means = [spread.value for spread in known.values()]
    if style["linestyle"] == "none":
        picture.axes.vlines(list(known), low, high, color=style["color"], linewidth=2, alpha=0.55)
    else:
        picture.axes.fill_between(list(known), low, high, color=style["color"], alpha=0.14, linewidth=0)
        picture.axes.plot(list(known), means, color=style["color"], linestyle=style["linestyle"], linewidth=1.6)
    texts = [
        f"{subject.answer.titles[figure]} {one.value:.2f} [{one.low:.2f}, {one.high:.2f}], {one.seeds} seeds"
        for one in known.values()
    ]
    picture.points(list(known), means, texts, color=style["color"], marker=style["marker"], s=30)
    return [*low, *high, *(row.figures[figure] for _, row in dots)]


def heat_maps(subject: Subject) -> list[Plot]:
    """A picture a pair of numeric settings and figure."""
    numeric = [key for key in subject.varied if is_number(level for level in subject.levels(key) if level is not None)]
    pairs = list(itertools.combinations(numeric, 2))[:MOST_HEAT_PAIRS]
    if not pairs:
        raise Absent("needs two numeric settings that were swept")
    return [_heat_map(subject, pair, figure) for pair in pairs for figure in subject.answer.titles]


def _heat_map(subject: Subject, pair: tuple[str, str], figure: str) -> Plot:
    """Means over seeds and all other settings."""
    from matplotlib import colormaps

    columns, lines = (subject.levels(key) for key in pair)
    x_name, y_name = (subject.data.names[key] for key in pair)
    cells = [
        [over_seeds(part, figure) for part in split(rows, pair[0], columns)]
        for rows in split(subject.data.compared, pair[1], lines)
    ]
    values = [[math.nan if cell is None else cell.value for cell in line] for line in cells]
    title = subject.answer.titles[figure]
    picture = canvas(
        f"{title} over {x_name} and {y_name}", x=axis_title(pair[0], x_name), y=axis_title(pair[1], y_name), height=260
    )
    axes = picture.axes
    colours = colormaps["viridis"].resampled(32)
    low, high = _span(figure, values)
    mesh = axes.pcolormesh(values, cmap=colours, vmin=low, vmax=high, edgecolors=PAPER, linewidth=1.5)
    axes.grid(visible=False)
    for texts, ticks in ((columns, axes.set_xticks), (lines, axes.set_yticks)):
        kept = range(0, len(texts), max(1, -(-len(texts) // 10)))
        ticks([place + 0.5 for place in kept], [setting_text(texts[place]) for place in kept])
    _scale(picture, mesh, 0.11 if unit_of(figure) == "share" else 0.14)
    if max(len(columns), len(lines)) <= MOST_CELLS:
        for row, line in enumerate(values):
            for column, value in enumerate(line):
                if not math.isnan(value):
                    small(axes, column + 0.5, row + 0.5, f"{value:.2f}", color=text_on((value - low) / (high - low)))
    return picture.named(f"map-{x_name}-{y_name}-{figure}")


def _span(figure: str, values: Sequence[Sequence[float]]) -> tuple[float, float]:
    """What the colours reach from and to: 0 to 1 for shares, the values themselves for what has no bounds."""
    known = [value for line in values for value in line if not math.isnan(value)]
    if unit_of(figure) == "share" or not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    room = max(0.0, LEAST_SPAN - (high - low)) / 2
    return low - room, high + room


def _scale(picture: Canvas, mesh: Any, room: float) -> None:
    """The colours' scale, right of the axes, in so much of the picture's width."""
    box = picture.axes.get_position()
    picture.axes.set_position((box.x0, box.y0, box.width - room, box.height))
    scale = picture.figure.add_axes((box.x1 - room + 0.03, box.y0, 0.025, box.height))
    bar = picture.figure.colorbar(mesh, cax=scale)
    bar.outline.set_visible(False)
    scale.tick_params(labelsize=7.5, color=MUTED, labelcolor=MUTED, length=2)
