"""What of a trial is worth telling: what is not as it would be by itself."""

from raysafe.config.defaults import departures
from raysafe.config.sweeps import make_sweep
from raysafe.objectives import OBJECTIVES
from raysafe.selection import SELECTORS


def told(**raw):
    (plan,) = make_sweep({"name": "a", **raw}).trials
    return departures(plan.config)


OWN = {"model": {"path": "m"}, "data": {"finetune": "d", "safe": "s", "align": "a"}, "evaluation": {"harmful": "h"}}


def test_a_sandbox_trial_that_says_nothing_departs_in_nothing():
    assert told() == {}
    assert told(training={"epochs": 6, "lr": 5e-4}, data={"plant": 0}) == {}  # what the sandbox recommends


def test_a_share_that_would_be_kept_anyway_is_no_departure():
    assert told(selection={"percent": 80}) == {} and told(selection={"percent": 70}) == {"selection.percent": 70}


def test_ones_own_model_is_told_and_its_data_are_not():
    assert told(**OWN) == {"model.path": "m"}


def test_what_differs_is_told_by_its_dotted_name():
    found = told(training={"epochs": 2}, selector={"gamma": 0.2}, model={"lora": {"r": 4}})
    assert found["training.epochs"] == 2 and found["selector.gamma"] == 0.2 and found["model.lora.r"] == 4
    assert told(evaluation={"attacks": {"direct": {}}}) == {"evaluation.attacks.prefill": None}


def test_a_method_alone_is_no_departure():
    """Its name is told as what it is; only its settings could depart."""
    for selector in SELECTORS:
        assert told(selector=selector, objective="sft") == {}
    for objective in OBJECTIVES:
        assert told(objective=objective) == {}
