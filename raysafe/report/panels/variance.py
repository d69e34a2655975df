"""Where the variance of a setting's mean comes from: a bar a source."""

from collections.abc import Sequence

from raysafe.report.drawing import COLOURS, MUTED, Plot, canvas, label
from raysafe.report.markup import items, plain_table
from raysafe.report.panels.base import Absent, Subject
from raysafe.report.variance import HOW, SHOWN, Source, shown


def by_source(subject: Subject) -> list[Plot]:
    """A picture a headline figure."""
    lines = subject.data.variance
    figures = list(dict.fromkeys(line.figure for line in lines))
    plots = [_bars(subject.answer.titles.get(name, name), [line for line in lines if line.figure == name]) for name in figures]
    drawn = [plot for plot in plots if plot is not None]
    if not drawn:
        raise Absent("no finished trials of which a source of variance can be told")
    return drawn


def numbers(subject: Subject) -> str:
    """The whole table, sources that are not measured among them."""
    return plain_table(SHOWN, [shown(line) for line in subject.data.variance], 2) + items([HOW])


def _bars(title: str, lines: Sequence[Source]) -> Plot | None:
    if not any(line.sd_of_mean for line in lines):
        return None
    picture = canvas(f"{title}: standard deviation by source", x="standard deviation", height=76 + 27 * len(lines))
    axes = picture.axes
    longest = max(line.sd_of_mean or 0.0 for line in lines)
    for place, line in enumerate(reversed(lines)):
        axes.barh(place, line.sd_of_mean or 0.0, color=COLOURS[0], height=0.42, alpha=0.85)
        label(axes, 0, place + 0.42, line.source)
        told = line.note if line.sd_of_mean is None else f"{line.sd_of_mean:.3f}, {line.share_of_mean or 0:.0%}, df {line.df}"
        label(axes, (line.sd_of_mean or 0.0) + 0.01 * longest, place, told, color=MUTED)
    axes.set_yticks([])
    axes.set_ylim(-0.5, len(lines) - 0.25)
    axes.set_xlim(0, longest * 1.5)
    axes.grid(axis="y", visible=False)
    return picture.named(f"variance-{lines[0].figure}")
