"""A backlog before trackers that are slow, absent, broken or killed: nobody waits, and in the end the record is whole."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from raysafe.tracking import (
    Backlog,
    Chart,
    Column,
    DatasetSpec,
    MemoryTracker,
    ModelSpec,
    Refused,
    RunSpec,
    Teller,
    Tracker,
    View,
)
from raysafe.tracking.backlog import BACKLOG, TRIES

LOSS = Column("metric", "train/loss")
SWEEP = RunSpec("sweep", "s", "s", params={"trials": 2})
PAUSE = 0.01
CALLS = ("start", "log", "note", "artifact", "dataset", "model", "view", "end")


def tell(tracker: Tracker, rows: int = 3) -> None:
    """What a small sweep of one trial tells."""
    sweep = tracker.start(SWEEP, 1)
    trial = tracker.start(RunSpec("trial", "000-a", "a", sweep, {"selector.gamma": 0.1}), 2)
    tracker.dataset(trial, DatasetSpec("rows", "rows.jsonl", "0123abcd", "finetune"))
    for step in range(rows):
        tracker.log(trial, step, {"train/loss": 1.0 / (step + 1), "epoch": step}, 3)
    tracker.model(trial, ModelSpec("a", "/store/a", "best"))
    tracker.view(View("main", "Main", "trial", (LOSS,), (Chart("lines", (LOSS,)),)), 4)
    tracker.note(trial, {"description": "it ended"})
    tracker.end(trial, "FINISHED", time_ms=9)
    tracker.end(sweep, "FINISHED", time_ms=9)


class Moody(MemoryTracker):
    """Fails in so many calls first, or is slow; `kept_anyway`: a failing call has been carried out all the same."""

    def __init__(self, failures: int = 0, seconds: float = 0.0, kept_anyway: bool = False) -> None:
        super().__init__()
        self.failures, self.seconds, self.kept_anyway = failures, seconds, kept_anyway

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return self._moody(found) if name in CALLS else found

    def _moody(self, method: Any) -> Any:
        def called(*arguments: Any, **options: Any) -> Any:
            time.sleep(self.seconds)
            self.failures -= 1
            if self.failures < 0 or self.kept_anyway:
                result = method(*arguments, **options)
            if self.failures >= 0:
                raise OSError("no answer")
            return result

        return called


def teller(backlog: Backlog, tracker: Any, name: str = "t") -> Teller:
    """A teller at work whose tracker is made by `tracker`, or is it."""
    made = Teller(backlog, name, tracker if callable(tracker) else lambda: tracker, pause_s=PAUSE)
    made.begin()
    return made


def same_record(one: MemoryTracker, other: MemoryTracker) -> bool:
    runs = [{id: vars(run) for id, run in tracker.runs.items()} for tracker in (one, other)]
    return runs[0] == runs[1] and one.views == other.views


@pytest.fixture
def expected() -> MemoryTracker:
    """The record of a tracker that was told directly."""
    tracker = MemoryTracker()
    tell(tracker)
    return tracker


@pytest.mark.parametrize("tracker", [Moody(), Moody(failures=5), Moody(failures=5, kept_anyway=True), Moody(seconds=0.02)])
def test_the_record_is_that_of_a_tracker_that_was_told_directly(tracker: Moody, tmp_path: Path, expected: MemoryTracker) -> None:
    backlog = Backlog(tmp_path)
    telling = teller(backlog, tracker)
    tell(backlog)
    assert telling.drain(20.0) and same_text(tracker, expected)


def same_text(tracker: MemoryTracker, expected: MemoryTracker) -> bool:
    """Parameters travel as texts, so that the specifications differ and the rest does not."""
    for record in (tracker, expected):
        for run in record.runs.values():
            run.spec = SWEEP
    return same_record(tracker, expected)


def test_nobody_waits_for_a_slow_tracker(tmp_path: Path) -> None:
    backlog = Backlog(tmp_path)
    telling = teller(backlog, Moody(seconds=0.05))
    started = time.monotonic()
    tell(backlog, rows=200)
    assert time.monotonic() - started < 5 and telling.missing > 100  # directly it would take 10 s
    telling.drain(0.0)


def test_a_tracker_that_comes_late_is_told_everything(tmp_path: Path, expected: MemoryTracker) -> None:
    attempts: list[int] = []
    tracker = MemoryTracker()

    def opened() -> Tracker:
        attempts.append(1)
        if len(attempts) < 4:
            raise OSError("refused")
        return tracker

    backlog = Backlog(tmp_path)
    telling = teller(backlog, opened)
    tell(backlog)
    assert telling.drain(20.0) and same_text(tracker, expected)


def absent() -> Tracker:
    raise OSError("refused")


def test_an_absent_tracker_is_given_up_at_the_end_and_told_by_the_next_process(tmp_path: Path, expected: MemoryTracker) -> None:
    backlog = Backlog(tmp_path)
    telling = teller(backlog, absent)
    tell(backlog)
    assert not telling.drain(0.1) and telling.missing == 11 and "refused" in str(telling.problem)
    tracker = MemoryTracker()
    assert teller(Backlog(tmp_path), tracker).drain(20.0) and same_text(tracker, expected)


def test_a_process_that_was_killed_in_the_middle_is_gone_on_from(tmp_path: Path, expected: MemoryTracker) -> None:
    backlog, tracker = Backlog(tmp_path), MemoryTracker()
    tell(backlog)
    telling = Teller(backlog, "t", lambda: tracker)
    telling.position = 4
    for entry in backlog.entries[:4]:
        telling._tell(tracker, entry)
    telling._mark()
    assert teller(Backlog(tmp_path), tracker).drain(20.0) and same_text(tracker, expected)


def test_the_end_of_a_torn_line_is_dropped(tmp_path: Path) -> None:
    tell(Backlog(tmp_path))
    with (tmp_path / BACKLOG).open("a") as file:
        file.write('{"do": "log", "run"')
    Backlog(tmp_path).end("trial:000-a", "FAILED")
    assert [json.loads(line)["do"] for line in (tmp_path / BACKLOG).read_text().splitlines()][-2:] == ["end", "end"]


def test_another_tracker_is_told_the_whole_story(tmp_path: Path, expected: MemoryTracker) -> None:
    backlog, other = Backlog(tmp_path), MemoryTracker()
    tell(backlog)
    assert teller(backlog, MemoryTracker(), "sqlite").drain(20.0)
    assert teller(Backlog(tmp_path), other, "http").drain(20.0) and same_text(other, expected)


def test_what_comes_after_the_end_of_a_run_leaves_it_ended(tmp_path: Path) -> None:
    tracker = MemoryTracker()
    tell(backlog := Backlog(tmp_path))
    assert teller(backlog, tracker).drain(20.0)
    (later := Backlog(tmp_path)).artifact("trial:000-a", tmp_path / BACKLOG)
    assert teller(later, tracker).drain(20.0)
    run = tracker.runs["trial:000-a"]
    assert run.status == "FINISHED" and run.artifacts == [BACKLOG]


def test_what_was_noted_of_a_run_outlives_a_restart(tmp_path: Path) -> None:
    tracker = MemoryTracker()
    tell(backlog := Backlog(tmp_path))
    assert teller(backlog, tracker).drain(20.0)
    (later := Backlog(tmp_path)).artifact("trial:000-a", tmp_path / BACKLOG)
    tracker.runs["trial:000-a"].tags["description"] = "as it was told at the start"
    assert teller(later, tracker).drain(20.0)
    assert tracker.runs["trial:000-a"].tags["description"] == "it ended"


def test_a_note_names_other_runs_by_what_the_tracker_calls_them_also_after_a_restart(tmp_path: Path) -> None:
    tracker = MemoryTracker()
    tell(backlog := Backlog(tmp_path))
    backlog.note("sweep:s", {"best": "{run:trial:000-a}"})
    backlog.note("trial:000-a", {"of": "{run:sweep:s}"})
    assert teller(backlog, tracker).drain(20.0)
    (later := Backlog(tmp_path)).note("trial:000-a", {"others": "{run:sweep:s} and {run:trial:ghost}"})
    assert teller(later, tracker).drain(20.0)
    tags = {name: run.tags for name, run in tracker.runs.items()}
    assert (tags["sweep:s"]["best"], tags["trial:000-a"]["of"]) == ("trial:000-a", "sweep:s")
    assert tags["trial:000-a"]["others"] == "sweep:s and trial:ghost"
    assert {run.status for run in tracker.runs.values()} == {"FINISHED"}


def test_what_is_refused_for_good_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    class Picky(MemoryTracker):
        def log(self, run_id: str, step: int, metrics: Any, time_ms: int | None = None) -> None:
            if step == 1:
                raise Refused("no step 1 here")
            super().log(run_id, step, metrics, time_ms)

    backlog, tracker = Backlog(tmp_path), Picky()
    telling = teller(backlog, tracker)
    tell(backlog)
    assert telling.drain(20.0) and telling.refused == ["no step 1 here"]
    assert [step for name, step, _ in tracker.runs["trial:000-a"].metrics if name == "epoch"] == [0, 2]


class Poisoned(MemoryTracker):
    """Fails at one step, for no reason that it could give, and takes all else."""

    poison = True

    def log(self, run_id: str, step: int, metrics: Any, time_ms: int | None = None) -> None:
        if self.poison and step == 1:
            raise OSError("internal error")
        super().log(run_id, step, metrics, time_ms)


def test_an_entry_that_fails_for_ever_holds_up_nobody_and_is_tried_again_by_the_next(
    tmp_path: Path, expected: MemoryTracker
) -> None:
    tracker = Poisoned()
    tell(backlog := Backlog(tmp_path))
    telling = teller(backlog, tracker)
    assert telling.drain(20.0) and telling.left == [4] and "left for another time" in telling.refused[0]
    assert tracker.runs["sweep:s"].status == "FINISHED"
    again = teller(Backlog(tmp_path), tracker)
    assert again.drain(20.0) and again.left == [4], "it fails still"
    tracker.poison = False
    last = teller(Backlog(tmp_path), tracker)
    assert last.drain(20.0) and last.left == [] and Teller(Backlog(tmp_path), "t", absent).missing == 0
    for run in tracker.runs.values():
        run.metrics.sort(key=lambda row: row[1])
    assert same_text(tracker, expected)


def test_while_the_tracker_takes_nothing_no_entry_is_given_up(tmp_path: Path, expected: MemoryTracker) -> None:
    class Broken(Moody):
        def answers(self) -> bool:
            return False

    tracker = Broken(failures=TRIES + 2)
    tell(backlog := Backlog(tmp_path))
    telling = Teller(backlog, "t", lambda: tracker, pause_s=0.001)
    telling.begin()
    assert telling.drain(20.0) and telling.left == [] and same_text(tracker, expected)


def test_a_run_that_was_never_started_stops_nobody(tmp_path: Path) -> None:
    backlog, tracker = Backlog(tmp_path), MemoryTracker()
    backlog.end("trial:ghost", "FAILED")
    tell(backlog)
    telling = teller(backlog, tracker)
    assert telling.drain(20.0) and telling.refused == ["trial:ghost was never started"] and "sweep:s" in tracker.runs


def test_a_password_in_a_setting_is_not_in_the_file(tmp_path: Path) -> None:
    Backlog(tmp_path).start(RunSpec("trial", "a", "a", params={"data.finetune": "https://me:secret@host/rows"}))
    assert "secret" not in (tmp_path / BACKLOG).read_text()


def test_runs_that_have_not_ended_are_known(tmp_path: Path) -> None:
    backlog = Backlog(tmp_path)
    backlog.start(SWEEP)
    backlog.end(backlog.start(RunSpec("trial", "a", "a")), "STOPPED")
    assert list(Backlog(tmp_path).open) == ["sweep:s"]
