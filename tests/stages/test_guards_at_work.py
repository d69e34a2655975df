"""Guards without a cluster: what stops a trial after an epoch, and what it keeps if its scores break one at its end."""

import pytest
from small import small_trial

from raysafe.artifacts import Store
from raysafe.config.sweeps import make_sweep
from raysafe.errors import GuardStopped
from raysafe.trial import run_trial


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    return tmp_path_factory.mktemp("storage")


def walk(model_folder, storage, guards):
    """A trial of two epochs; the random model knows nothing."""
    evaluation = small_trial(model_folder)["evaluation"] | {"guards": guards}
    raw = small_trial(model_folder, selector={"name": "random"}, objective={"name": "sft"}, evaluation=evaluation)
    (plan,) = make_sweep(raw).trials
    return run_trial(plan.config, Store(storage), storage / "trial")


def trainings(storage):
    return list((storage / "artifacts" / "train").glob("*/manifest.json"))


def test_a_guard_stops_the_training_after_an_epoch(model_folder, storage):
    for _ in range(2):  # on going on it is told the same
        with pytest.raises(GuardStopped, match=r"guard `utility`: 0 \[0, .* is below at_least 0.5, after epoch 1"):
            walk(model_folder, storage, {"utility": {"at_least": 0.5, "do": "stop"}})
    assert trainings(storage) == []


def test_what_breaks_a_guard_at_its_end_keeps_its_scores_and_its_checkpoint(model_folder, storage):
    result = walk(model_folder, storage, {"utility": {"at_least": 0.5}, "win_rate": {"at_most": 1, "do": "stop"}})
    assert [(one.figure, one.do) for one in result.broken] == [("utility", "fail")]
    assert result.metrics["utility"].value == 0 and (storage / "trial" / "checkpoint" / "config.json").exists()


def test_a_training_that_is_there_is_held_against_a_guard_too(model_folder, storage):
    """The last test has made it: guards are in no stage's key."""
    assert len(trainings(storage)) == 1
    with pytest.raises(GuardStopped, match="after epoch 1"):
        walk(model_folder, storage, {"utility": {"at_least": 0.5, "do": "stop"}})
    assert len(trainings(storage)) == 1
