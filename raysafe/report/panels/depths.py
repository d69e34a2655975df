"""Figures by depth: the success of prefilling, the distance from the base model, and by how much a refusal is likelier."""

from collections.abc import Sequence
from dataclasses import dataclass

from raysafe.report.data import DIVERGENCE, MARGIN, STAGE, VARIANT
from raysafe.report.drawing import MOST_SERIES, Canvas, Plot, canvas
from raysafe.report.panels.base import BASE_STYLE, RATE, Absent, Subject, over_seeds, rate_axis, series, value_axis
from raysafe.report.summary import TrialRow

BASE_STAGE = "base readings"
"""The label of the stage that reads the untrained model."""


@dataclass(frozen=True)
class Ladder:
    """Figures that differ in their depth alone. `start`: their names before the depth; `file`: the picture's name."""

    start: str
    title: str
    x: str
    y: str
    file: str
    missing: str


PREFILLING = Ladder(
    VARIANT, "ASR by prefill depth", "prefilled tokens", RATE, "depth", "no trial was attacked by prefilling"
)  # fmt: skip
DISTANCE = Ladder(
    DIVERGENCE, "KL from base by position", "token of the harmful answer", "KL(trial ‖ base), nats", "kl-depth",
    "no trial was read against its base (`evaluation.probes.depth`)",
)  # fmt: skip
REFUSING = Ladder(
    MARGIN, "Refusal margin by depth", "prefilled tokens", "refusal margin, nats", "refusal-margin",
    "no trial has a refusal margin (`evaluation.probes.refusal_margin`, and `harmful` answers in the rows)",
)  # fmt: skip


def prefilling(subject: Subject) -> list[Plot]:
    """The attack's success over the tokens that are put into the model's mouth, for each setting that colours tell apart."""
    return _pictures(subject, PREFILLING, _few(subject) or [None])


def distance(subject: Subject) -> list[Plot]:
    """How far training moved the model, position by position, by the setting that moves most."""
    return _pictures(subject, DISTANCE, [subject.colour_key()])


def refusing(subject: Subject) -> list[Plot]:
    """By how much a refusal is likelier than compliance; above 0 the model would rather refuse."""
    return _pictures(subject, REFUSING, [subject.colour_key()])


def _few(subject: Subject) -> list[str | None]:
    """Settings of so few values that colours tell them apart, the one that moves most first."""
    keys = sorted(subject.varied, key=lambda key: key != subject.colour_key())
    return [key for key in keys if len(subject.levels(key)) <= MOST_SERIES]


def _pictures(subject: Subject, ladder: Ladder, keys: Sequence[str | None]) -> list[Plot]:
    depths = _depths(subject, ladder)
    if not depths:
        raise Absent(ladder.missing)
    return [_picture(subject, ladder, key, depths) for key in keys]


def _depths(subject: Subject, ladder: Ladder) -> list[int]:
    names = {name for row in subject.data.compared for name in row.figures if name.startswith(ladder.start)}
    ends = [name.removeprefix(ladder.start) for name in names]
    return sorted(int(end) for end in ends if end.isdigit())


def _picture(subject: Subject, ladder: Ladder, key: str | None, depths: Sequence[int]) -> Plot:
    lines, base = series(subject, key), _of_base(subject, ladder, depths)
    legend = [(name, style) for name, style, _ in lines] if key else []
    legend += [("base model", BASE_STYLE)] if base else []
    name = subject.data.names[key] if key else "all"
    picture = canvas(f"{ladder.title}{f', by {name}' if key else ''}", x=ladder.x, y=ladder.y, legend=legend)
    for _, style, rows in lines:
        _line(picture, ladder, style, rows, depths)
    if base:
        picture.axes.plot(list(base), list(base.values()), **BASE_STYLE)
    picture.axes.set_xticks(depths if len(depths) <= 10 else depths[:: -(-len(depths) // 10)])
    if ladder.y == RATE:
        rate_axis(picture.axes, [0.0, 1.0])
    else:
        value_axis(picture.axes, f"{ladder.start}{depths[0]}", ())
        picture.axes.axhline(0, color=BASE_STYLE["color"], linewidth=0.8, zorder=1)
    return picture.named(f"{ladder.file}-{name}")


def _line(picture: Canvas, ladder: Ladder, style: dict[str, str], rows: Sequence[TrialRow], depths: Sequence[int]) -> None:
    known = {depth: spread for depth in depths if (spread := over_seeds(rows, f"{ladder.start}{depth}"))}
    if not known:
        return
    low, high = [one.low for one in known.values()], [one.high for one in known.values()]
    picture.axes.fill_between(list(known), low, high, color=style["color"], alpha=0.14, linewidth=0)
    means = [one.value for one in known.values()]
    picture.axes.plot(list(known), means, color=style["color"], linestyle=style["linestyle"], linewidth=1.6)
    texts = [f"{depth} tokens: {one.value:.2f} [{one.low:.2f}, {one.high:.2f}]" for depth, one in known.items()]
    picture.points(list(known), means, texts, color=style["color"], marker=style["marker"], s=30)


def _of_base(subject: Subject, ladder: Ladder, depths: Sequence[int]) -> dict[int, float]:
    """The untrained models' mean at each depth, from what the stages that read them told."""
    told = subject.data.told
    points = [told.points.get(STAGE + key, ())[-1:] for key, label in told.stages.items() if label == BASE_STAGE]
    found: dict[int, list[float]] = {depth: [] for depth in depths}
    for depth, values in found.items():
        name = f"eval/{ladder.start}{depth}"
        values += [point.metrics[name] for last in points for point in last if name in point.metrics]
    return {depth: sum(values) / len(values) for depth, values in found.items() if values}
