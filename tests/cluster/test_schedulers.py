"""Every scheduler that a configuration may name, as Tune gets it."""

from typing import get_args, get_type_hints

import pytest
from ray.tune.schedulers import TrialScheduler

from raysafe.cluster.schedulers import SCHEDULERS
from raysafe.cluster.tuning import scheduler_point
from raysafe.config.sections import SchedulerSettings


def test_the_names_are_those_that_a_configuration_takes():
    assert set(SCHEDULERS) == set(get_args(get_type_hints(SchedulerSettings)["name"]))


@pytest.mark.parametrize("name", SCHEDULERS)
def test_each_is_a_scheduler_of_tunes(name):
    assert isinstance(SCHEDULERS[name](SchedulerSettings(name), 4), TrialScheduler)


def test_asha_counts_our_epochs_and_leaves_the_last_one_to_the_final_scores():
    asha = SCHEDULERS["asha"](SchedulerSettings("asha", metric="train_loss", mode="min"), 4)
    assert (asha._time_attr, asha.metric, asha._max_t) == ("epoch", "train_loss", 5)


@pytest.mark.parametrize(
    ("label", "metrics", "told"),
    [
        ("train", {"epoch": 1, "eval/safety_score": 0.5}, {"epoch": 1, "safety_score": 0.5}),
        ("train", {"epoch": 1}, None),
        ("rank", {"epoch": 1, "eval/safety_score": 0.5}, None),
    ],
)
def test_a_scheduler_hears_of_epochs_with_its_metric(label, metrics, told):
    assert scheduler_point(label, metrics, "safety_score") == told
