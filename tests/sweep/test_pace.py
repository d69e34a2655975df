"""How far a sweep is and how long it takes, from the desk's log alone."""

from types import SimpleNamespace

import pytest
from small import small_trial

from raysafe.artifacts import MemoryStore
from raysafe.config.sweeps import make_sweep
from raysafe.sweep.events import GroupCame, JobChanged, JobState, JobWanted, PointTold
from raysafe.sweep.pace import Pace
from raysafe.sweep.trial_record import TrialRecord

RUNNING, DONE = JobState.RUNNING, JobState.DONE


@pytest.fixture(scope="module")
def plans():
    grid = {"grid": {"training.lr": [0.1, 0.2]}}
    return make_sweep(small_trial("no-model", training={"epochs": 4}, sweep=grid)).trials


@pytest.fixture
def pace(plans):
    pace = Pace({plan.name: plan.config for plan in plans}, MemoryStore(), SimpleNamespace(count=2, grows=False), 0.0)
    pace.clock = lambda: 100.0
    return pace


@pytest.fixture
def trials(plans, tmp_path):
    return [TrialRecord(plan, tmp_path / plan.name) for plan in plans]


def changed(at, job, state, shared=False, label="train"):
    return JobChanged(at, job, label, shared, (), state)


def epoch(at, number, job="train-1", label="train"):
    return PointTold(at, job, label, number, {"epoch": number})


def test_workers_are_waited_for_until_all_groups_have_come(pace, trials):
    assert pace.progress(trials).waiting == "waiting for workers: 0 of 2 groups are at work"
    pace.take([GroupCame(1.0, "a")])
    assert "1 of 2 groups" in pace.progress(trials).waiting
    pace.take([GroupCame(2.0, "b")])
    assert pace.progress(trials).waiting == ""


def test_nodes_are_waited_for_where_a_growing_cluster_has_no_room_yet(pace, trials):
    pace.workers = SimpleNamespace(count=2, grows=True, room=lambda: 1)
    assert pace.progress(trials).waiting.endswith("the cluster has room for 1 now, waiting for nodes")


def test_the_base_model_is_waited_for(pace, trials):
    pace.workers = None
    pace.take([changed(1.0, "base-1", RUNNING, True, "base")])
    assert pace.progress(trials).waiting == "making the base model"
    pace.take([changed(2.0, "base-1", DONE, True, "base")])
    assert pace.progress(trials).waiting == "" and pace.progress(trials).made == 1


def test_an_alignment_tells_its_steps_of_how_many(pace, trials):
    """It is posted before any trial asks for it, and has other steps than the sandbox's model."""
    pace.workers = None
    pace.take([changed(1.0, "base-2", RUNNING, True, "alignment"), PointTold(2.0, "base-2", "alignment", 12, {"loss": 1.0})])
    now = pace.progress(trials)
    assert now.waiting == "aligning the base model"
    (stage,) = now.stages
    assert (stage.epoch, stage.epochs, stage.unit) == (12, trials[0].plan.config.tricks.base_steps, "step")


def test_a_shared_stage_tells_its_epochs_of_how_many(pace, trials, plans):
    rank = JobWanted(0.0, plans[0].name, "rank-0123456789", "rank")
    pace.take([rank, changed(1.0, rank.job, RUNNING, True, "rank"), epoch(2.0, 1, rank.job, "rank")])
    (stage,) = pace.progress(trials).stages
    assert (stage.name, stage.progress) == ("rank 01234567", "1/1")


def test_nothing_is_estimated_before_something_was_measured(pace, trials):
    assert pace.left(trials) is None


def test_time_left_is_that_of_the_epochs_that_are_missing(pace, trials, plans):
    """Ten seconds an epoch: two of four are missing of the one training, all four of the other, which no one has begun; the
    epoch that runs began 5 s ago. Two groups share that."""
    trials[0].jobs["train"] = "train-1"
    wanted = JobWanted(0.0, plans[0].name, "train-1", "train")
    pace.take(
        [GroupCame(0.0, "a"), GroupCame(0.0, "b"), wanted, changed(75.0, "train-1", RUNNING), epoch(85.0, 1), epoch(95.0, 2)]
    )
    assert pace.left(trials) == pytest.approx((20 - 5 + 40) / 2)


def test_epochs_told_again_after_a_resume_are_not_taken_for_fast_ones(pace, trials, plans):
    trials[0].jobs["train"] = trials[1].jobs["train"] = "train-1"
    pace.take([JobWanted(0.0, plans[0].name, "train-1", "train"), GroupCame(0.0, "a"), changed(70.0, "train-1", RUNNING)])
    pace.take([epoch(70.1, 1), epoch(70.2, 2), epoch(95.2, 3)])
    assert pace.left(trials) == pytest.approx(25 - 4.8)


def test_trials_that_share_a_training_are_counted_once_and_nothing_is_left_at_the_end(pace, trials, plans):
    trials[0].jobs["train"] = trials[1].jobs["train"] = "train-1"
    pace.take([JobWanted(0.0, plans[0].name, "train-1", "train"), changed(80.0, "train-1", RUNNING), epoch(100.0, 1)])
    assert pace.left(trials) == pytest.approx(60)
    for trial in trials:
        trial.ended = 100.0
    assert pace.left(trials) is None
