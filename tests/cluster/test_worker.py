"""What a worker makes of an error in its job: only our own are a verdict on it. Desk and worker by themselves, without Ray."""

import pickle
from types import SimpleNamespace

import pytest
import torch

from raysafe.cluster import worker
from raysafe.cluster.worker import GroupSettings
from raysafe.errors import DataError, NotFiniteError, StageError, StageStopped
from raysafe.sweep.desk import Desk
from raysafe.sweep.events import JobState


class Handle:
    """A desk as Ray shows an actor: `desk.method.remote(...)`."""

    def __init__(self, desk):
        self.desk = desk

    def __getattr__(self, name):
        return SimpleNamespace(remote=getattr(self.desk, name))


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a job that ends with `problem` on a rank of a group of so many; gives the desk."""

    def run_job(problem, rank=0, world_size=1):
        def make(stage, store, context, engines):
            raise problem

        monkeypatch.setattr(worker, "make", make)
        monkeypatch.setattr(worker, "device", lambda: torch.device("cpu"))
        monkeypatch.setattr(worker, "ray", SimpleNamespace(get=lambda value: value))
        desk = Desk(0)
        desk.post("a", "train-1", "train", False, pickle.dumps("a stage"))
        job, payload = desk.next_job("g")
        settings = GroupSettings("desk", "g", str(tmp_path))
        try:
            worker._run(Handle(desk), settings, job, payload, rank, world_size)
        except Exception as raised:
            return desk, raised
        return desk, None

    return run_job


@pytest.mark.parametrize("problem", [StageError("no row is usable"), NotFiniteError("loss at step 3"), DataError("row 7")])
def test_our_own_errors_are_the_jobs_end(run, problem):
    desk, raised = run(problem)
    assert desk.look("a", "train-1") == (JobState.FAILED, None, str(problem)) and raised is None


@pytest.mark.parametrize("problem", [RuntimeError("connection reset by peer"), OSError("no space"), KeyError("a bug")])
@pytest.mark.parametrize("rank", [0, 1])
def test_any_other_error_ends_the_group_and_not_the_job(run, problem, rank):
    desk, raised = run(problem, rank, world_size=2)
    assert raised is problem and desk.look("a", "train-1")[0] is JobState.RUNNING
    desk.next_job("g")  # the group, with fresh processes; it may have no attempt left
    said = desk.look("a", "train-1")[2]
    assert said.startswith(f"its workers died or failed 1 times; the last time: {type(problem).__name__}: {problem}\n")
    assert "Traceback" in said


def test_a_verdict_of_one_rank_ends_the_group_too_since_the_others_may_wait_for_it(run):
    desk, raised = run(StageError("no row is usable"), rank=1, world_size=2)
    assert desk.look("a", "train-1")[0] is JobState.FAILED and isinstance(raised, RuntimeError)


def test_a_stop_is_no_failure(run):
    desk, raised = run(StageStopped("stopped at step 3"))
    assert desk.jobs["train-1"].group is None and raised is None  # somebody still wants it: it is queued again
