"""Which trial is the best by the sweep's own rule, and what trials are compared by."""

import pytest

from raysafe.config.sections import TrackingSettings
from raysafe.config.sweeps import make_sweep
from raysafe.report.summary import TrialRow
from raysafe.sweep.best import best_of, headline_metrics, swept_counts


def row(name, status="FINISHED", **figures):
    return TrialRow(name, status, 0, {}, figures)


ROWS = [
    row("a", safety_score=0.9, win_rate=0.4, utility=0.5),
    row("b", safety_score=0.9, win_rate=0.6),
    row("c", safety_score=0.9, win_rate=0.6, utility=0.4),
    row("stopped", "STOPPED", safety_score=1.0, win_rate=1.0, utility=1.0),
    row("failed", "FAILED"),
]


@pytest.mark.parametrize(
    ("rule", "best"),
    [({}, "b"), ({"best": "utility"}, "a"), ({"best": "utility", "mode": "min"}, "c"), ({"best": "win_rate"}, "b")],
)
def test_the_best_is_a_finished_trial_and_a_tie_goes_to_the_higher_win_rate_then_to_the_first(rule, best):
    assert best_of(ROWS, TrackingSettings(**rule)).trial == best


def test_there_is_no_best_without_the_figure():
    assert best_of(ROWS, TrackingSettings(best="over_refusal")) is None and best_of([], TrackingSettings()) is None


def test_trials_are_compared_by_the_figures_that_all_of_them_have():
    assert headline_metrics([], ROWS) == ["eval/win_rate", "eval/safety_score"]


def test_before_one_has_ended_they_are_compared_by_what_their_evaluation_will_give():
    own = {"model": {"path": "m"}, "data": {"finetune": "d"}, "selector": "none", "objective": "sft"}
    evaluation = {"harmful": "h", "utility": "u", "attacks": {"direct": {}}}
    trials = make_sweep({"name": "a", **own, "evaluation": evaluation}).trials
    assert headline_metrics(trials) == ["eval/win_rate", "eval/safety_score", "eval/asr_direct", "eval/utility"]


def test_settings_are_counted_with_the_values_of_trials_that_do_not_set_them():
    grid, points = {"selector.gamma": [0.1, 0.2]}, [{"selector.gamma": 0.1, "training.epochs": 2}]
    trials = make_sweep({"name": "a", "seeds": [0, 1], "sweep": {"grid": grid, "points": points}}).trials
    assert swept_counts(trials) == {"gamma": 2, "epochs": 2, "seed": 2}
