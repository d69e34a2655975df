"""What is paid for safety: Pareto fronts."""

from collections.abc import Sequence

from raysafe.report.drawing import MUTED, Plot, canvas
from raysafe.report.naming import trial_title
from raysafe.report.panels.base import RATE, Absent, Spread, Subject, over_seeds, rate_axis, series
from raysafe.report.summary import TrialRow

AGAINST = ("utility", "win_rate", "new_tasks")
"""What the safety score stands against, a picture each."""
SAFETY = "safety_score"
MOST_LABELS = 6
"""Points of a front that have their settings beside them."""
Points = Sequence[tuple[Spread, Spread, str]]


def fronts(subject: Subject) -> list[Plot]:
    """Safety against what it may cost: a point for each setting, the mean over its seeds; the front is a line."""
    wanted = [figure for figure in AGAINST if figure in subject.answer.titles]
    if SAFETY not in subject.answer.titles or not wanted:
        raise Absent("needs a safety score and a utility")
    return [_front(subject, figure) for figure in wanted]


def _front(subject: Subject, figure: str) -> Plot:
    colour, title = subject.colour_key(), subject.answer.titles[figure]
    lines = series(subject, colour)
    legend = [(name, style | {"linestyle": "none"}) for name, style, _ in lines] if colour else []
    base = (subject.base(figure), subject.base(SAFETY))
    legend += (
        [("base model", {"color": MUTED, "marker": "x", "linestyle": "none", "markeredgewidth": 1.5})] if None not in base else []
    )
    picture = canvas(f"Safety against {title}", x=f"{title}, {RATE}", y=f"safety score, {RATE}", legend=legend, height=280)
    everything: list[tuple[Spread, Spread, str]] = []
    for _, style, rows in lines:
        points = _points(subject, rows, figure)
        everything += points
        for across, up, _ in points:
            cross = {"color": style["color"], "linewidth": 1, "alpha": 0.35}
            picture.axes.plot([across.low, across.high], [up.value] * 2, **cross)
            picture.axes.plot([across.value] * 2, [up.low, up.high], **cross)
        x, y = [across.value for across, _, _ in points], [up.value for _, up, _ in points]
        tips = [f"{name}\n{title} {across.value:.2f}\nsafety score {up.value:.2f}" for across, up, name in points]
        picture.points(x, y, tips, color=style["color"], marker=style["marker"], s=34)
    if None not in base:
        picture.axes.scatter(*base, marker="x", color=MUTED, s=30, zorder=2)
    _front_line(picture.axes, everything)
    known = [end for across, _, _ in everything for end in (across.low, across.high)] + [
        end for end in base[:1] if end is not None
    ]
    rate_axis(picture.axes, known, across=True)
    rate_axis(
        picture.axes, [end for _, up, _ in everything for end in (up.low, up.high)] + [end for end in base[1:] if end is not None]
    )
    return picture.named(f"front-{figure}")


def _points(subject: Subject, rows: Sequence[TrialRow], figure: str) -> list[tuple[Spread, Spread, str]]:
    """The means of each setting that have both figures."""
    groups: dict[str, list[TrialRow]] = {}
    for row in rows:
        groups.setdefault(repr(sorted(row.swept.items())), []).append(row)
    points = []
    for group in groups.values():
        across, up = over_seeds(group, figure), over_seeds(group, SAFETY)
        points += [(across, up, trial_title(group[0].swept))] if across and up else []
    return points


def on_front(points: Points) -> list[tuple[float, float, str]]:
    """The points that none beats in one figure without losing in the other, from left to right."""
    best: list[tuple[float, float, str]] = []
    for across, up, name in sorted(points, key=lambda point: (-point[0].value, -point[1].value)):
        if not best or up.value > best[-1][1]:
            best.append((across.value, up.value, name))
    return best[::-1]


def _front_line(axes: object, points: Points) -> None:
    front = on_front(points)
    if len(front) > 1:
        axes.step([x for x, _, _ in front], [y for _, y, _ in front], where="post", color=MUTED, linewidth=1, zorder=1)  # type: ignore[attr-defined]
