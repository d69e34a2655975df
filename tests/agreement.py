"""Whether desk, `summary.csv` and tracker say the same of a sweep, point by point: nothing twice, nothing missing."""

from collections import defaultdict
from dataclasses import replace

import pytest

from raysafe.sweep.events import PointTold, TrialEnded

COUNTS = ("selected_rows", "safeinstr_rows", "unsafe_selected", "ranking_auc", "planted_recall", "dropped_rows")


def told_by(events):
    """{trial: {(metric, step): value}} by the desk's log: points as the trials were told them, final scores at the last."""
    points = defaultdict(dict)
    for event in events:
        if isinstance(event, PointTold) and event.trial is not None and event.label == "train":
            own = {name if "/" in name else f"train/{name}": value for name, value in event.metrics.items()}
            points[event.trial] |= {(name, event.step): value for name, value in own.items()}
        if isinstance(event, TrialEnded) and event.result is not None:
            last = max(step for _, step in points[event.trial])
            for name, rate in event.result.metrics.items():
                ends = {"": rate.value, "_low": rate.low, "_high": rate.high, "_n": rate.n}
                points[event.trial] |= {(f"eval/{name}{end}", last): value for end, value in ends.items()}
            counts = {name: getattr(event.result, name) for name in COUNTS}
            points[event.trial] |= {(name, last): value for name, value in counts.items() if value is not None}
    return points


def check_agreement(events, rows, tracked):
    """`rows`: of the summary; `tracked`: {trial: [(metric, step, value)]} as the tracker has them."""
    points = told_by(events)
    ends = {event.trial: event for event in events if isinstance(event, TrialEnded)}
    assert len(ends) == sum(isinstance(event, TrialEnded) for event in events), "a trial ended twice"
    assert [row.trial for row in rows] == sorted(ends)
    for row in rows:
        expected = sorted((name, step, float(value)) for (name, step), value in points[row.trial].items())
        assert sorted(untimed_points(tracked[row.trial])) == expected, row.trial
        check_row(row, ends[row.trial], points[row.trial])


def check_row(row, end, points):
    """A line of the summary has the last epoch that was told, and the scores of the last step."""
    assert (row.status, row.error) == (end.status, end.error.partition("\n")[0])
    last = max((step for _, step in points), default=0)
    assert row.figures["epochs"] == points.get(("train/epoch", last), 0)
    scores = {name.removeprefix("eval/"): value for (name, step), value in points.items() if step == last and "eval/" in name}
    shown = {name: value for name, value in scores.items() if name in row.figures}
    assert {name: row.figures[name] for name in shown} == pytest.approx(shown, rel=1e-8)  # nine digits in the file
    assert {"win_rate", "safety_score"} & scores.keys() <= row.figures.keys()


def untimed(row):
    """A line of the summary but for its seconds."""
    return replace(
        row, figures={name: value for name, value in row.figures.items() if name != "wall_s" and "seconds" not in name}
    )


def untimed_points(points):
    """Points of a tracker but for seconds."""
    return [point for point in points if not point[0].startswith("seconds/")]
