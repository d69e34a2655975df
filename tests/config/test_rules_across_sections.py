"""What can't work together is refused before the start, in words that name the key."""

import pytest
from small import small_trial

from raysafe.config.sweeps import make_sweep
from raysafe.errors import ConfigError


def refused(**sections):
    with pytest.raises(ConfigError) as caught:
        make_sweep(small_trial("no-model", **sections))
    return str(caught.value)


def asha(metric):
    return {"name": "asha", "metric": metric}


@pytest.mark.parametrize("metric", ["safety_score", "win_rate", "utility"])
def test_a_scheduler_whose_scores_are_taken_at_the_end_only_is_refused(metric):
    said = refused(scheduler=asha(metric), evaluation={"each_epoch": False})
    assert "`evaluation.each_epoch`: got false" in said and f"`{metric}`" in said and "train_loss" in said


def test_the_loss_needs_no_scoring():
    assert make_sweep(small_trial("no-model", scheduler=asha("train_loss"), evaluation={"each_epoch": False})).trials


def test_a_scheduler_of_a_suite_that_is_not_there_is_refused():
    assert "`evaluation.utility`: this key is needed" in refused(scheduler=asha("utility"), evaluation={"utility": None})


def test_one_trial_of_the_sweep_that_has_no_such_scores_is_enough():
    grid = {"grid": {"evaluation.each_epoch": [True, False]}}
    assert "`evaluation.each_epoch`" in refused(scheduler=asha("safety_score"), sweep=grid)


def test_more_grace_than_there_are_epochs_is_refused():
    said = refused(scheduler={**asha("train_loss"), "grace_epochs": 3}, training={"epochs": 2})
    assert "`scheduler.grace_epochs`: got 3, but it takes at most training.epochs = 2" in said


@pytest.mark.parametrize("scheduler", [{}, {"name": "none"}])
def test_without_a_scheduler_nothing_of_it_is_asked_for(scheduler):
    assert make_sweep(small_trial("no-model", scheduler=scheduler, evaluation={"each_epoch": False, "utility": None})).trials
