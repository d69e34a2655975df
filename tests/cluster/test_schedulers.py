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
        ("train", {"epoch": 1, "eval/coherence": 1.0, "eval/safety_score": 0.5}, {"epoch": 1, "safety_score": 0.5}),
        ("train", {"epoch": 1}, None),
        ("rank", {"epoch": 1, "eval/safety_score": 0.5}, None),
    ],
)
def test_a_scheduler_hears_of_epochs_with_its_metric(label, metrics, told):
    assert scheduler_point(label, metrics, SchedulerSettings("asha")) == told


@pytest.mark.parametrize(("mode", "worst"), [("max", 0.0), ("min", 1.0)])
def test_a_model_of_gibberish_is_told_a_scheduler_as_the_worst(mode, worst):
    """Scored, but no answer to judge: not passed over, which would let it run on."""
    gibberish = {"epoch": 2, "eval/coherence": 0.0, "eval/utility": 0.0}
    assert scheduler_point("train", gibberish, SchedulerSettings("asha", mode=mode)) == {"epoch": 2, "safety_score": worst}


def test_without_a_scheduler_nothing_is_told():
    assert scheduler_point("train", {"epoch": 1, "eval/safety_score": 0.5}, SchedulerSettings()) is None
