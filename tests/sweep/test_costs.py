"""Every second of work is paid for by one trial: the desk's events in, seconds by trial and stage out."""

import pytest

from raysafe.artifacts import Store
from raysafe.sweep.costs import Costs
from raysafe.sweep.events import JobChanged, JobState

RUNNING, DONE, STOPPED, FAILED = JobState.RUNNING, JobState.DONE, JobState.STOPPED, JobState.FAILED


@pytest.fixture
def store(tmp_path):
    """A ranking and a training that took two and three seconds, whoever made them."""
    store = Store(tmp_path)
    for kind, seconds in (("rank", 2.0), ("train", 3.0)):
        with store.making(kind, "1", {}):
            pass
        manifest = store.artifact(kind, "1").folder / "manifest.json"
        manifest.write_text(f'{{"seconds": {seconds}}}')
    return store


@pytest.fixture
def costs(tmp_path, store):
    return Costs(tmp_path, store, ["a", "b"])


def ask(costs, at, *trials, job="rank-1"):
    for trial in trials:
        costs.wanted(trial, job, job.partition("-")[0], at)


def tell(costs, at, state, job="rank-1"):
    costs.changed(JobChanged(at, job, job.partition("-")[0], True, (), state))


def test_the_trial_that_asked_first_pays_and_the_other_saves(costs):
    ask(costs, 0.0, "a", "b")
    tell(costs, 1.0, RUNNING)
    tell(costs, 3.5, DONE)
    assert costs.figures("a") == {"seconds_rank": 2.5, "seconds_saved": 0.0}
    assert costs.figures("b") == {"seconds_rank": 0.0, "seconds_saved": 2.0}


def test_an_alignment_is_told_by_its_own_name_though_it_is_a_base_too(costs):
    for job, label in (("base-1", "base"), ("base-2", "alignment")):
        costs.wanted("a", job, label, 0.0)
        costs.changed(JobChanged(0.0, job, label, True, (), RUNNING))
        costs.changed(JobChanged(1.0, job, label, True, (), DONE))
    assert costs.figures("a") == {"seconds_sandbox": 1.0, "seconds_alignment": 1.0, "seconds_saved": 0.0}


def test_what_was_in_the_store_costs_nothing(costs):
    ask(costs, 0.0, "a")
    tell(costs, 0.0, DONE)
    assert costs.figures("a") == {"seconds_rank": 0.0, "seconds_saved": 2.0}


def test_what_the_sweep_began_before_its_trials_is_paid_for_by_the_first_to_need_it(costs):
    ask(costs, 0.0, "the sweep")
    tell(costs, 1.0, RUNNING)
    tell(costs, 4.0, DONE)
    ask(costs, 5.0, "b", "a")
    assert costs.figures("b")["seconds_rank"] == 3.0 and costs.figures("a")["seconds_rank"] == 0.0


def test_when_the_payer_ends_early_the_next_one_goes_on_paying(costs):
    ask(costs, 0.0, "a", "b")
    tell(costs, 0.0, RUNNING)
    costs.ended("a", 1.0)
    tell(costs, 3.0, DONE)
    assert (costs.figures("a")["seconds_rank"], costs.figures("b")["seconds_rank"]) == (1.0, 2.0)


@pytest.mark.parametrize("end", [STOPPED, FAILED])
def test_a_trial_pays_for_what_it_did_not_finish_and_every_attempt(costs, end):
    ask(costs, 0.0, "a", job="train-2")
    tell(costs, 1.0, RUNNING, "train-2")
    tell(costs, 3.0, RUNNING, "train-2")
    costs.ended("a", 4.0)
    tell(costs, 4.5, end, "train-2")
    assert costs.figures("a") == {"seconds_train": 3.0, "seconds_saved": 0.0}


def test_trials_of_one_training_name_the_first_that_asked_for_it(costs):
    ask(costs, 0.0, "b", "a", job="train-1")
    assert costs.figures("a")["same_as"] == "b" and "same_as" not in costs.figures("b")


def test_going_on_knows_what_was_paid_before(costs, tmp_path, store):
    ask(costs, 0.0, "a", "b")
    ask(costs, 0.0, "a", job="train-2")
    tell(costs, 0.0, RUNNING)
    tell(costs, 2.0, DONE)
    tell(costs, 2.0, RUNNING, "train-2")
    costs.save(5.0)
    later = Costs(tmp_path, store, ["a"])
    ask(later, 100.0, "a")
    ask(later, 100.0, "a", job="train-2")
    tell(later, 101.0, RUNNING, "train-2")
    tell(later, 102.0, DONE, "train-2")
    assert later.figures("a") == {"seconds_rank": 2.0, "seconds_train": 4.0, "seconds_saved": 0.0}


def test_all_that_was_paid_is_the_work_that_was_done(costs):
    ask(costs, 0.0, "a", "b")
    for job, start, end in (("rank-1", 0.0, 2.5), ("train-1", 3.0, 7.0), ("train-2", 3.0, 4.0)):
        ask(costs, start, *("ab" if job != "train-2" else "b"), job=job)
        tell(costs, start, RUNNING, job)
        tell(costs, end, DONE, job)
    paid = [value for trial in "ab" for name, value in costs.figures(trial).items() if name in ("seconds_rank", "seconds_train")]
    assert sum(paid) == 7.5
