"""The record is what happened: one ordered log in, table, summary and tracker out, however slow or absent the tracker is."""

import threading
from types import SimpleNamespace

import pytest
from agreement import check_agreement, untimed
from rich.console import Console
from small import small_trial

from raysafe.artifacts import Store
from raysafe.config.sweeps import make_sweep
from raysafe.evaluation.metrics import Rate
from raysafe.report.live import LiveTable
from raysafe.report.summary import SUMMARY, read_summary
from raysafe.sweep.desk import Desk
from raysafe.sweep.events import JobState, TrialEnd
from raysafe.sweep.folder import TrialTask
from raysafe.sweep.pace import Pace
from raysafe.sweep.record import Recorder, SweepRecord
from raysafe.sweep.tracked import TrackedRuns
from raysafe.tracking import Backlog, MemoryTracker, Teller
from raysafe.trial import TrialResult

EPOCHS = 2
A, B, C = "000-lr0.1_seed0", "001-lr0.2_seed0", "002-lr0.3_seed0"


@pytest.fixture(scope="module")
def sweep():
    grid = {"grid": {"training.lr": [0.1, 0.2, 0.3]}}
    return make_sweep(small_trial("no-model", objective="sft", training={"epochs": EPOCHS}, sweep=grid))


def tasks_in(folder, sweep):
    inputs = SimpleNamespace(data=dict, model=None, ranker=None, prompts={}, reference=None)
    return [TrialTask(plan, inputs, folder / "small" / "trials" / plan.name) for plan in sweep.trials]


def point(epoch, rate):
    return 10 * epoch, {"epoch": epoch, "train/loss": 1.0 / epoch, "eval/win_rate": rate, "eval/safety_score": rate}


def result(rate):
    scores = {name: Rate(rate, 0.0, 1.0, 8) for name in ("win_rate", "safety_score")}
    return TrialEnd(TrialResult(scores, 26, 0.25, 0.5, checkpoint=None))


def job_of(trial):
    """KIND-KEY, as ids of artifacts are."""
    return f"train-{trial[:3]}"


def train(desk, trial, epochs, group="g", seen=0):
    """A group trains a trial's stage so far, the trial being told of every epoch."""
    job = job_of(trial)
    for epoch in range(seen + 1, seen + epochs + 1):
        desk.point(group, job, *point(epoch, 0.1 * epoch))
        desk.look(trial, job, epoch - 1)


def a_sweep(desk):
    """One trial runs to its end, one is stopped after an epoch, one fails: a generator that pauses after every order."""
    for trial in (A, B, C):
        desk.start(trial)
        desk.post(trial, "rank-1", "rank", True, b"")
        desk.post(trial, job_of(trial), "train", False, b"")
        yield
    desk.next_job("h")
    desk.point("h", "rank-1", 5, {"selector/safe_loss": 1.5})
    desk.end("h", "rank-1", JobState.DONE)
    yield
    for trial in (A, B, C):
        desk.next_job(f"g{trial}")
        train(desk, trial, 1, f"g{trial}")
        yield
    desk.point(f"g{B}", job_of(B), *point(2, 0.9))  # too late: nobody was told of it when its trial was stopped
    desk.halt(B)
    yield
    train(desk, A, 1, f"g{A}", seen=1)
    desk.end(f"g{A}", job_of(A), JobState.DONE)
    desk.record(A, result(0.75))
    desk.halt(A)
    yield
    desk.record(C, TrialEnd(error="the loss is not finite\nat step 3"))
    desk.halt(C)


class Sweep:
    """A desk with a record that writes to a backlog in `folder`, and a copy of all that the log held."""

    def __init__(self, folder, sweep):
        self.desk, self.log, self.folder = Desk(2), [], folder / "small"
        store = Store(folder)
        with store.making("rank", "1", {}):
            pass
        self.backlog = Backlog(self.folder)
        self.record = SweepRecord(sweep, tasks_in(folder, sweep), TrackedRuns(self.backlog, store))

    def events(self, since):
        events = self.desk.events(since)
        self.log += events
        return events

    def recorder(self):
        pace = Pace({}, self.record.runs.store)
        return Recorder(self.record, self.events, lambda: list(self.backlog.open), pace, LiveTable(Console(quiet=True)))

    def check(self, tracker):
        tracked = {run.spec.key: run.metrics for run in tracker.runs.values() if run.spec.kind == "trial"}
        check_agreement(self.log, read_summary(self.folder / SUMMARY), tracked)


def told(backlog, opened, patience=20.0):
    teller = Teller(backlog, "t", opened, pause_s=0.01)
    teller.begin()
    return teller.drain(patience)


@pytest.mark.parametrize("pieces", [1, 3, 100], ids=["event by event", "in pieces", "at once"])
def test_desk_summary_and_tracker_agree_however_late_the_record_is_kept(sweep, tmp_path, pieces):
    here, tracker, orders = Sweep(tmp_path, sweep), MemoryTracker(), 0
    here.record.runs.start_sweep(sweep, here.folder)
    for orders, _ in enumerate(a_sweep(here.desk)):
        if orders % pieces == pieces - 1:
            here.record.take(here.events(len(here.log)))
    here.record.take(here.events(len(here.log)))
    assert told(here.backlog, lambda: tracker)
    here.check(tracker)
    assert tracker.runs["stage:1"].metrics == [("selector/safe_loss", 5, 1.5)]
    statuses = {run.spec.key: run.status for run in tracker.runs.values()}
    assert statuses == {"small": "RUNNING", "1": "FINISHED", A: "FINISHED", B: "STOPPED", C: "FAILED"}


def test_a_stopped_trial_has_the_epochs_and_scores_that_it_was_told_of(sweep, tmp_path):
    here = Sweep(tmp_path, sweep)
    for _ in a_sweep(here.desk):
        pass
    here.record.take(here.events(0))
    stopped = {row.trial: row for row in read_summary(here.folder / SUMMARY)}[B]
    assert (stopped.status, stopped.figures["epochs"], stopped.figures["win_rate"]) == ("STOPPED", 1, 0.1)


@pytest.mark.parametrize("late", [True, False], ids=["heard of late", "never heard of"])
def test_a_trial_that_is_faster_than_the_word_of_its_start_is_recorded_all_the_same(sweep, tmp_path, late):
    here, tracker = Sweep(tmp_path, sweep), MemoryTracker()
    here.desk.post(A, job_of(A), "train", False, b"")
    here.desk.next_job("g")
    train(here.desk, A, 1)
    if late:
        here.desk.start(A)
    here.desk.halt(A, "the trial's driver failed")
    here.record.take(here.events(0))
    assert told(here.backlog, lambda: tracker)
    here.check(tracker)
    assert tracker.runs[f"trial:{A}"].status == "FAILED"


def test_a_training_from_the_store_is_recorded_like_one_that_was_run(sweep, tmp_path):
    records = []
    for name, reused in (("run", False), ("store", True)):
        here, tracker = Sweep(tmp_path / name, sweep), MemoryTracker()
        here.desk.start(A)
        if reused:
            here.desk.reuse(A, job_of(A), "train", False, [point(epoch, 0.1 * epoch) for epoch in (1, 2)])
            for seen in range(3):
                here.desk.look(A, job_of(A), seen)
        else:
            here.desk.post(A, job_of(A), "train", False, b"")
            here.desk.next_job("g")
            train(here.desk, A, 2)
        here.desk.record(A, result(0.75))
        here.desk.halt(A)
        here.record.take(here.events(0))
        assert told(here.backlog, lambda tracker=tracker: tracker)
        here.check(tracker)
        records.append((tracker.runs[f"trial:{A}"].metrics, untimed(read_summary(here.folder / SUMMARY)[0])))
    assert records[0] == records[1] and ("eval/win_rate", 20, 0.75) in records[0][0]


class Absent(threading.Event):
    """A tracker that can't be opened before it is set."""

    def __init__(self):
        super().__init__()
        self.tracker = MemoryTracker()

    def __call__(self):
        if not self.is_set():
            raise OSError("no route to host")
        return self.tracker


def test_without_a_tracker_the_sweep_ends_as_with_one_and_the_record_catches_up(sweep, tmp_path):
    here, absent = Sweep(tmp_path, sweep), Absent()
    with here.recorder():
        for _ in a_sweep(here.desk):
            pass
    assert not told(here.backlog, absent, patience=0.1)
    assert [row.status for row in read_summary(here.folder / SUMMARY)] == ["FINISHED", "STOPPED", "FAILED"]
    absent.set()
    assert told(Backlog(here.folder), absent)
    here.check(absent.tracker)
    assert absent.tracker.runs["sweep:small"].status == "FAILED" and absent.tracker.runs["sweep:small"].artifacts[-1] == SUMMARY


def test_what_still_runs_when_the_sweep_is_interrupted_is_marked_so(sweep, tmp_path):
    here, tracker = Sweep(tmp_path, sweep), MemoryTracker()
    orders = a_sweep(here.desk)
    with here.recorder():
        for _ in range(5):
            next(orders)
    assert told(here.backlog, lambda: tracker)
    assert {run.status for run in tracker.runs.values()} == {"INTERRUPTED", "FINISHED"}  # the ranking was done
    assert not (here.folder / SUMMARY).exists()
