"""The desk by itself: no cluster is needed to see who gets what."""

import time

import pytest

from raysafe.sweep.desk import CLOSE, RENEW, WAIT, Desk
from raysafe.sweep.events import GroupCame, JobChanged, JobState, JobWanted, PointTold, TrialEnd, TrialEnded, TrialStarted

RANK = ("rank-1", "rank", True, b"payload")
TRAIN = ("train-1", "train", False, b"payload")


def desk_with(*stages, trial="a", **options):
    desk = Desk(options.pop("max_failures", 2), **options)
    for stage in stages:
        desk.post(trial, *stage)
    return desk


def test_a_group_gets_what_was_posted_first():
    desk = desk_with(RANK, TRAIN)
    assert [desk.next_job("g")[0], desk.next_job("h")[0]] == ["rank-1", "train-1"]


def test_with_nothing_posted_a_group_waits():
    assert Desk(2).next_job("g") == (WAIT, None)


def test_a_stage_wanted_by_two_trials_is_one_job():
    desk = desk_with(RANK)
    desk.post("b", *RANK)
    assert desk.next_job("g")[0] == "rank-1"
    assert desk.next_job("h") == (WAIT, None)
    assert desk.jobs["rank-1"].wanted_by == {"a", "b"}


def test_points_come_back_from_the_place_that_was_asked_for():
    desk = desk_with(TRAIN)
    desk.next_job("g")
    assert [desk.point("g", "train-1", step, {"x": step}) for step in (1, 2)] == [False, False]
    assert desk.look("a", "train-1", 1) == (JobState.RUNNING, (2, {"x": 2}), "")
    assert desk.look("a", "train-1", 2) == (JobState.RUNNING, None, "")


def test_halting_its_only_trial_stops_a_job_at_its_next_point():
    desk = desk_with(TRAIN)
    desk.next_job("g")
    desk.halt("a")
    assert desk.point("g", "train-1", 1, {}) is True
    desk.end("g", "train-1", JobState.STOPPED)
    assert desk.look("a", "train-1")[0] is JobState.STOPPED


def test_a_job_wanted_again_while_it_is_being_stopped_is_queued_again():
    desk = desk_with(TRAIN)
    desk.next_job("g")
    desk.halt("a")
    assert desk.point("g", "train-1", 1, {}) is True
    desk.post("b", *TRAIN)
    desk.end("g", "train-1", JobState.STOPPED)
    assert desk.next_job("g")[0] == "train-1"


def test_a_job_that_another_trial_still_wants_goes_on():
    desk = desk_with(RANK)
    desk.post("b", *RANK)
    desk.next_job("g")
    desk.halt("a")
    assert desk.point("g", "rank-1", 1, {}) is False


def test_a_halted_job_that_nobody_took_is_not_begun():
    desk = desk_with(TRAIN)
    desk.halt("a")
    assert desk.next_job("g") == (WAIT, None)
    assert desk.look("a", "train-1")[0] is JobState.STOPPED


def test_a_stopped_job_is_made_anew_when_it_is_wanted_again():
    desk = desk_with(TRAIN)
    desk.halt("a")
    desk.post("b", *TRAIN)
    assert desk.next_job("g")[0] == "train-1"


def test_a_group_whose_workers_died_is_offered_the_same_job_again():
    desk = desk_with(TRAIN)
    assert desk.next_job("g") == desk.next_job("g") == ("train-1", b"payload")


def test_a_job_whose_workers_die_too_often_fails_and_says_so():
    desk = desk_with(TRAIN, max_failures=1)
    assert [desk.next_job("g")[0] for _ in range(3)] == ["train-1", "train-1", WAIT]
    assert desk.look("a", "train-1") == (JobState.FAILED, None, "its workers died or failed 2 times")


def test_a_failed_job_fails_for_everyone_who_asks_later():
    desk = desk_with(RANK)
    desk.next_job("g")
    desk.end("g", "rank-1", JobState.FAILED, "boom")
    desk.post("b", *RANK)
    assert desk.look("a", "rank-1") == (JobState.FAILED, None, "boom")


def test_a_lost_group_gives_its_job_to_another():
    desk = desk_with(TRAIN)
    desk.next_job("g")
    desk.lose("g", "gone", others=1)
    assert desk.next_job("h")[0] == "train-1"


def test_losing_the_last_group_fails_what_is_open():
    desk = desk_with(TRAIN, RANK)
    desk.next_job("g")
    desk.lose("g", "no GPU", others=0)
    assert desk.look("a", "train-1")[0] is desk.look("a", "rank-1")[0] is JobState.FAILED
    desk.close()
    desk.post("b", "train-2", "train", False, b"")
    assert "no GPU" in desk.look("a", "rank-1")[2] and "no GPU" in desk.look("b", "train-2")[2]  # the cause, not what came of it


def test_what_is_posted_after_closing_fails_instead_of_waiting_for_ever():
    desk = Desk(2)
    desk.close()
    desk.post("a", *TRAIN)
    assert desk.look("a", "train-1")[0] is JobState.FAILED
    assert desk.next_job("g") == (CLOSE, None)


def test_a_group_is_renewed_after_as_many_jobs_as_asked_for():
    desk = desk_with(RANK, TRAIN, fresh_every=1)
    desk.next_job("g")
    desk.end("g", "rank-1", JobState.DONE)
    assert desk.next_job("g") == (RENEW, None)
    assert desk.next_job("g")[0] == "train-1"


def test_what_ended_the_last_attempt_is_in_the_error_the_first_problem_of_it_that_is():
    desk = desk_with(TRAIN, max_failures=1)
    for problem in ("rank 0: old", "rank 1: KeyError"):
        desk.next_job("g")
        desk.trouble("g", "train-1", problem)
        desk.trouble("g", "train-1", "rank 0: connection reset by peer")
    desk.next_job("g")
    assert desk.look("a", "train-1")[2] == "its workers died or failed 2 times; the last time: rank 1: KeyError"


def test_a_job_that_group_after_group_is_lost_with_fails_in_the_end():
    desk = desk_with(TRAIN, max_failures=1)
    for group in ("g", "h"):
        assert desk.next_job(group)[0] == "train-1"
        desk.lose(group, "gone", others=1)
    assert desk.next_job("i") == (WAIT, None) and desk.look("a", "train-1")[0] is JobState.FAILED


def test_what_an_earlier_attempt_told_is_not_taken_twice():
    desk = desk_with(TRAIN)
    desk.next_job("g")
    desk.point("g", "train-1", 10, {"x": 1.0})
    desk.next_job("g")
    for step in (10, 20):
        desk.point("g", "train-1", step, {"x": 2.0})
    assert desk.jobs["train-1"].points == [(10, {"x": 1.0}), (20, {"x": 2.0})]


def test_a_point_that_comes_after_its_trial_was_halted_is_nobodys():
    desk = desk_with(TRAIN)
    desk.next_job("g")
    desk.halt("a")
    desk.point("g", "train-1", 1, {"x": 1.0})
    assert desk.jobs["train-1"].points == [] and isinstance(desk.events(0)[-1], TrialEnded)


def kinds(desk):
    return [(type(event), getattr(event, "state", None), getattr(event, "step", None)) for event in desk.events(0)]


def test_the_log_has_a_trials_points_as_it_was_told_them_and_its_end_behind_them():
    desk = Desk(2)
    desk.start("a")
    desk.post("a", *TRAIN)
    desk.next_job("g")
    desk.point("g", "train-1", 1, {"x": 1.0})
    desk.point("g", "train-1", 2, {"x": 2.0})
    assert desk.look("a", "train-1", 0)[1] == (1, {"x": 1.0})
    desk.halt("a")
    assert kinds(desk) == [
        (TrialStarted, None, None), (JobWanted, None, None), (GroupCame, None, None), (JobChanged, JobState.RUNNING, None),
        (PointTold, None, 1), (TrialEnded, None, None),
    ]  # fmt: skip
    assert desk.events(0)[-1].status == "STOPPED"


def test_the_points_of_a_shared_stage_are_in_the_log_once_whoever_listens():
    desk = desk_with(RANK)
    desk.post("b", *RANK)
    desk.next_job("g")
    desk.point("g", "rank-1", 1, {"x": 1.0})
    for trial in "ab":
        assert desk.look(trial, "rank-1", 0)[1] == (1, {"x": 1.0})
    assert [event.trial for event in desk.events(0) if isinstance(event, PointTold)] == [None]


def test_a_result_from_the_store_brings_its_points_one_by_one_to_every_trial():
    desk, points = Desk(2), [(1, {"x": 1.0}), (2, {"x": 2.0})]
    for trial in "ab":
        desk.reuse(trial, "train-1", "train", False, points)
        assert [desk.look(trial, "train-1", seen) for seen in range(3)] == [
            (JobState.RUNNING, points[0], ""), (JobState.RUNNING, points[1], ""), (JobState.DONE, None, ""),
        ]  # fmt: skip
    assert [(event.trial, event.step) for event in desk.events(0) if isinstance(event, PointTold)] == [
        ("a", 1), ("a", 2), ("b", 1), ("b", 2),
    ]  # fmt: skip


def test_a_shared_result_from_the_store_tells_its_points_once_before_it_is_done():
    desk = Desk(2)
    for trial in "ab":
        desk.reuse(trial, "rank-1", "rank", True, [(1, {"x": 1.0})])
    assert kinds(desk) == [(PointTold, None, 1), (JobChanged, JobState.DONE, None), *[(JobWanted, None, None)] * 2]
    assert desk.events(0)[1].reused


@pytest.mark.parametrize(
    ("end", "failed", "status"),
    [
        (TrialEnd("result"), "", "FINISHED"),
        (TrialEnd(error="boom"), "", "FAILED"),
        (None, "driver", "FAILED"),
        (None, "", "STOPPED"),
    ],
)
def test_a_trial_ends_as_it_left_word_and_as_the_scheduler_says(end, failed, status):
    desk = desk_with(TRAIN)
    if end is not None:
        desk.record("a", end)
    desk.halt("a", failed)
    event = desk.events(0)[-1]
    assert (event.status, event.error) == (status, failed or (end.error if end else ""))


def test_what_has_been_taken_in_is_let_go():
    desk = desk_with(TRAIN, RANK)
    first = desk.events(0)
    assert len(first) == 2 and desk.events(1) == first[1:] == desk.log
    desk.start("b")
    assert [type(event) for event in desk.events(2)] == [TrialStarted] and len(desk.log) == 1


def test_ten_thousand_trials_cost_a_moment():
    """Asking for work looked through all jobs before, which took minutes here; 10 s leave room for a slow machine."""
    desk, began, seen = Desk(2), time.process_time(), 0
    for number in range(10_000):
        trial, job = f"t{number}", f"train-{number}"
        desk.post(trial, job, "train", False, b"")
        assert desk.next_job("g")[0] == job
        desk.point("g", job, 1, {"x": 1.0})
        desk.look(trial, job)
        desk.end("g", job, JobState.DONE)
        desk.halt(trial)
        seen += len(desk.events(seen))
    assert time.process_time() - began < 10


def test_one_trials_own_stage_may_be_another_ones_opponent():
    """Whoever asked first: the trial whose own it is has it under its own label, point by point; the other as a shared stage."""
    desk = Desk(2)
    for trial, label, shared in (("a", "opponent", True), ("b", "train", False)):
        desk.start(trial)
        desk.post(trial, "train-1", label, shared, b"")
    desk.next_job("g")
    desk.point("g", "train-1", 1, {"epoch": 1})
    for trial in ("a", "b"):
        assert desk.look(trial, "train-1")[1] == (1, {"epoch": 1})
    events = desk.events(0)
    assert [(one.trial, one.label) for one in events if isinstance(one, JobWanted)] == [("a", "opponent"), ("b", "train")]
    assert [(one.trial, one.label) for one in events if isinstance(one, PointTold)] == [(None, "opponent"), ("b", "train")]
