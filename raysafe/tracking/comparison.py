"""The comparisons of a sweep: which views its experiment has."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from raysafe.tracking.base import Chart, Column, View

MAIN_VIEW = "compare"
"""The key of the view that a sweep's link opens."""
LOSSES = ("train/loss", "train/align_loss", "train/retain_loss")
SCORES = ("eval/win_rate", "eval/safety_score", "eval/utility")
RANKING = ("selector/auc", "selector/safe_loss", "selector/finetune_loss", "selector/weight_std")


def views_of(swept: Mapping[str, int], headline: Sequence[str], evaluations: Sequence[str] = ()) -> list[View]:
    """The views of a sweep, the main one first.

    swept: short names of the swept settings (`gamma`, `seed`, ...), each with how many values it has; one with a single value is
    no axis. headline: names of the metrics that trials are compared by, of the trials that have ended those that all of them
    have, since MLflow draws only runs with a value on every axis; before that those to be expected. evaluations: what the
    trials' figures are figures of; of several, each has views of its own, the first the usual ones.
    """
    settings = tuple(Column("param", name) for name, values in swept.items() if values > 1)
    metrics = tuple(Column("metric", name) for name in headline)
    columns, order = settings + metrics, _named(metrics, "safety_score")
    axes = [column for column in columns if column != order] + ([order] if order else [])  # lines have the last axis's colour
    compare = Chart("parallel", tuple(axes) or (Column("param", "seed"),))
    views = [View(MAIN_VIEW, "Compare the trials", "trial", columns, (compare,), order)]
    utility = [column for name in ("utility", "win_rate", "new_tasks") if (column := _named(metrics, name))]
    if order and utility:
        charts = tuple(Chart("scatter", (column, order)) for column in utility)
        views.append(View("safety-utility", "Safety against utility", "trial", columns, charts, order))
    if {"gamma", "percent"} <= {column.name for column in settings}:
        plane = Column("param", "gamma"), Column("param", "percent")
        charts = tuple(Chart("contour", (*plane, metric)) for metric in metrics)
        views.append(View("gamma-p", "γ × p", "trial", columns, charts, order))
    views.append(View("training", "Training", "trial", columns, _curves(*LOSSES, *SCORES), order))
    ranked = (*(column for column in settings if column.name in ("gamma", "seed")), Column("param", "selector"))
    bars = Chart("bars", (Column("metric", RANKING[0]),))
    known = tuple(Column("metric", name) for name in RANKING[:2])
    views.append(View("selections", "Selections", "stage", (*ranked, *known), (bars, *_curves(*RANKING)), known[0], "rank"))
    return [other for view in views for other in _apart(view, evaluations)]


def _apart(view: View, evaluations: Sequence[str]) -> list[View]:
    """A view of trials once for each evaluation, as figures of different ones are no comparison."""
    if len(evaluations) < 2 or view.kind != "trial":
        return [view]
    keys = [view.key, *(f"{view.key}-{number}" for number in range(2, len(evaluations) + 1))]
    named = [f"{view.name} (evaluation {mark})" for mark in evaluations]
    return [replace(view, key=key, name=name, evaluation=mark) for key, name, mark in zip(keys, named, evaluations, strict=True)]


def _named(metrics: Sequence[Column], name: str) -> Column | None:
    return next((metric for metric in metrics if metric.name.rpartition("/")[2] == name), None)


def _curves(*names: str) -> tuple[Chart, ...]:
    return tuple(Chart("lines", (Column("metric", name),)) for name in names)
