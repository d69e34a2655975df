"""What happened on the way: curves of trainings and selectors, the spread of SEAL's weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raysafe.report.data import Point, RankStage
from raysafe.report.drawing import MOST_SERIES, MUTED, Plot, canvas, note, series_style
from raysafe.report.naming import setting_text
from raysafe.report.panels.base import RATE, Absent, Subject, rate_axis

MOST_LINES = 60
"""Trials in one picture."""
TRAINING = {
    "train/loss": ("training loss", "loss (nats)"),
    "train/align_loss": ("alignment term", "loss (nats)"),
    "train/retain_loss": ("retain term", "loss (nats a token)"),
    "eval/safety_score": ("safety score while training", RATE),
    "eval/win_rate": ("win rate while training", RATE),
    "eval/asr_prefill": ("ASR prefill while training", RATE),
    "eval/refusal_margin": ("refusal margin while training", "nats"),
}
"""Metric to (title, axis) of the pictures of trials."""
SELECTOR = {
    "selector/safe_loss": ("loss on trusted rows", "loss (nats a token)"),
    "selector/finetune_loss": ("weighted loss on D", "loss (nats a token)"),
    "selector/auc": ("AUC of the ranking so far", "AUC"),
}
SPREAD = ("selector/weight_min", "selector/weight_max")


@dataclass(frozen=True)
class Curve:
    """One line: steps, values, and what its last point says."""

    steps: Sequence[int]
    values: Sequence[float]
    style: Mapping[str, Any]
    tip: str


def training(subject: Subject) -> list[Plot]:
    """A picture a metric, a line a trial that ran, runs, was stopped or failed; colours by the setting that moves most."""
    key = subject.colour_key()
    names = [name for name in _trials(subject) if subject.data.points(name)]
    if not names:
        raise Absent("tracking.jsonl has no points of trainings")
    swept = {row.trial: row for row in subject.data.rows}
    levels = subject.levels(key) if key else [None]
    styles = {repr(level): series_style(place) for place, level in enumerate(levels)}
    legend = [(f"{subject.data.names[key]} {setting_text(level)}", styles[repr(level)]) for level in levels] if key else []

    def style(name: str) -> Mapping[str, Any]:
        value = swept[name].swept.get(key or "") if name in swept else subject.data.setting(name, key or "")
        return styles.get(repr(value if key else None), {"color": MUTED, "linestyle": ":", "marker": ""})

    runs = [(name, subject.data.points(name), style(name)) for name in _spaced(names)]
    return _pictures("training", TRAINING, runs, legend, len(names))


def _trials(subject: Subject) -> list[str]:
    """All that were planned, and those that have ended."""
    return list(dict.fromkeys([*subject.data.planned, *(row.trial for row in subject.data.rows)]))


Runs = Sequence[tuple[str, Sequence[Point], Mapping[str, Any]]]
Legend = Sequence[tuple[str, Mapping[str, Any]]]


def _pictures(prefix: str, metrics: Mapping[str, tuple[str, str]], runs: Runs, legend: Legend, count: int) -> list[Plot]:
    plots = []
    for metric, (title, axis) in metrics.items():
        curves = [curve for name, points, style in runs if (curve := _curve(name, points, metric, style))]
        if curves:
            rate = axis in (RATE, "AUC")
            left_out = f"{len(runs)} of {count}" if len(runs) < count else ""
            plots.append(_picture(f"{prefix}-{metric.rpartition('/')[2]}", (title, axis), curves, legend, (rate, left_out)))
    if not plots:
        raise Absent("none of these figures was reported")
    return plots


def _curve(name: str, points: Sequence[Point], metric: str, style: Mapping[str, Any]) -> Curve | None:
    known = [(point.step, point.metrics[metric]) for point in points if metric in point.metrics]
    if not known:
        return None
    steps, values = zip(*known, strict=True)
    return Curve(steps, values, style, f"{name}\nstep {steps[-1]}: {values[-1]:.4g}")


def _picture(name: str, titles: tuple[str, str], curves: Sequence[Curve], legend: Legend, how: tuple[bool, str]) -> Plot:
    rate, left_out = how
    picture = canvas(titles[0], x="optimiser step", y=titles[1], legend=legend)
    thin = len(curves) > 12
    for curve in curves:
        line = {"color": curve.style["color"], "linestyle": curve.style["linestyle"]}
        picture.axes.plot(curve.steps, curve.values, linewidth=0.8 if thin else 1.4, alpha=0.55 if thin else 0.9, **line)
        marker = curve.style.get("marker") or "o"
        picture.points(
            curve.steps[-1:], curve.values[-1:], [curve.tip], color=curve.style["color"], marker=marker, s=12 if thin else 22
        )
    if rate:
        rate_axis(picture.axes, [value for curve in curves for value in curve.values])
    elif _spans(curves):
        picture.axes.set_yscale("log")
        picture.axes.set_yticks([], minor=True)
    picture.axes.locator_params(axis="x", nbins=6, integer=True)
    if left_out:
        note(picture.figure, left_out)
    return picture.named(name)


def _spans(curves: Sequence[Curve]) -> bool:
    """Whether the values reach over more than two powers of ten."""
    values = [value for curve in curves for value in curve.values]
    return min(values) > 0 and max(values) / min(values) > 100


def selectors(subject: Subject) -> list[Plot]:
    """Losses and AUC of selectors that train, a line a ranking."""
    stages = _trained(subject)
    shown = _of_one_seed(stages)
    runs = [(stage.name, stage.points, series_style(place)) for place, stage in enumerate(shown)]
    return _pictures("selector", SELECTOR, runs, _stage_legend(shown), len(stages))


def weights(subject: Subject) -> list[Plot]:
    """Between which weights the rows of D lie, epoch by epoch; 1 is where all begin."""
    stages = [stage for stage in _trained(subject) if any(SPREAD[0] in point.metrics for point in stage.points)]
    if not stages:
        raise Absent("no selector reported its rows' weights")
    shown = _of_one_seed(stages)
    picture = canvas(
        "Row weights: least to largest", x="optimiser step", y="weight (mean 1)", legend=_stage_legend(shown), height=270
    )
    for place, stage in enumerate(shown):
        known = [point for point in stage.points if all(name in point.metrics for name in SPREAD)]
        steps, style = [point.step for point in known], series_style(place)
        ends = [[point.metrics[name] for point in known] for name in SPREAD]
        picture.axes.fill_between(steps, *ends, color=style["color"], alpha=0.08, linewidth=0)
        for values in ends:
            picture.axes.plot(steps, values, color=style["color"], linestyle=style["linestyle"], linewidth=1.3)
        tips = [f"{stage.name}\nstep {at}: {value:.3g}" for value, at in zip(ends[1], steps, strict=True)]
        picture.points(steps, ends[1], tips, color=style["color"], marker=style["marker"], s=22)
    picture.axes.axhline(1, color=MUTED, linewidth=0.8, linestyle=":")
    if len(shown) < len(stages):
        note(picture.figure, f"{len(shown)} of {len(stages)}")
    return [picture.named("selector-weights")]


def _trained(subject: Subject) -> list[RankStage]:
    stages = [stage for stage in subject.data.rank_stages if len(stage.points) > 0]
    if not stages:
        raise Absent("no selector was trained for this sweep, or its history is gone")
    return stages


def _stage_legend(stages: Sequence[RankStage]) -> Legend:
    return [(stage.name, series_style(place)) for place, stage in enumerate(stages)]


def _of_one_seed(stages: Sequence[RankStage]) -> list[RankStage]:
    """As many as colours can tell apart, those of the first seed before others."""
    return sorted(stages, key=lambda stage: stage.settings.get("seed") or 0)[:MOST_SERIES]


def _spaced(names: Sequence[str]) -> list[str]:
    """At most as many as a picture bears, evenly spaced."""
    count = len(names)
    return [names[place * count // MOST_LINES] for place in range(MOST_LINES)] if count > MOST_LINES else list(names)
