"""The desk by itself: no cluster is needed to see who gets what."""

from raysafe.sweep.desk import CLOSE, RENEW, WAIT, Desk, JobState

RANK = ("rank-1", "rank", True, b"payload")
TRAIN = ("train-1", "train", False, b"payload")


def desk_with(*stages, trial="a", **options):
    desk = Desk(options.pop("max_failures", 2), **options)
    desk.post(trial, list(stages))
    return desk


def test_a_group_gets_what_was_posted_first():
    desk = desk_with(RANK, TRAIN)
    assert [desk.next_job("g")[0], desk.next_job("h")[0]] == ["rank-1", "train-1"]


def test_with_nothing_posted_a_group_waits():
    assert Desk(2).next_job("g") == (WAIT, None)


def test_a_stage_wanted_by_two_trials_is_one_job():
    desk = desk_with(RANK)
    desk.post("b", [RANK])
    assert desk.next_job("g")[0] == "rank-1"
    assert desk.next_job("h") == (WAIT, None)
    assert desk.jobs["rank-1"].wanted_by == {"a", "b"}


def test_rows_come_back_from_the_place_that_was_asked_for():
    desk = desk_with(TRAIN)
    desk.next_job("g")
    assert [desk.row("g", "train-1", step, {"x": step}) for step in (1, 2)] == [False, False]
    assert desk.look("train-1", 1) == (JobState.RUNNING, [(2, {"x": 2})], "")


def test_halting_its_only_trial_stops_a_job_at_its_next_row():
    desk = desk_with(TRAIN)
    desk.next_job("g")
    desk.halt("a")
    assert desk.row("g", "train-1", 1, {}) is True
    desk.end("g", "train-1", JobState.STOPPED)
    assert desk.look("train-1")[0] is JobState.STOPPED


def test_a_job_wanted_again_while_it_is_being_stopped_is_queued_again():
    desk = desk_with(TRAIN)
    desk.next_job("g")
    desk.halt("a")
    assert desk.row("g", "train-1", 1, {}) is True
    desk.post("b", [TRAIN])
    desk.end("g", "train-1", JobState.STOPPED)
    assert desk.next_job("g")[0] == "train-1"


def test_a_job_that_another_trial_still_wants_goes_on():
    desk = desk_with(RANK)
    desk.post("b", [RANK])
    desk.next_job("g")
    desk.halt("a")
    assert desk.row("g", "rank-1", 1, {}) is False


def test_a_halted_job_that_nobody_took_is_not_begun():
    desk = desk_with(TRAIN)
    desk.halt("a")
    assert desk.next_job("g") == (WAIT, None)
    assert desk.look("train-1")[0] is JobState.STOPPED


def test_a_stopped_job_is_made_anew_when_it_is_wanted_again():
    desk = desk_with(TRAIN)
    desk.halt("a")
    desk.post("b", [TRAIN])
    assert desk.next_job("g")[0] == "train-1"


def test_a_group_whose_workers_died_is_offered_the_same_job_again():
    desk = desk_with(TRAIN)
    assert desk.next_job("g") == desk.next_job("g") == ("train-1", b"payload")


def test_a_job_whose_workers_die_too_often_fails_and_says_so():
    desk = desk_with(TRAIN, max_failures=1)
    assert [desk.next_job("g")[0] for _ in range(3)] == ["train-1", "train-1", WAIT]
    assert desk.look("train-1") == (JobState.FAILED, [], "its workers died 2 times")


def test_a_failed_job_fails_for_everyone_who_asks_later():
    desk = desk_with(RANK)
    desk.next_job("g")
    desk.end("g", "rank-1", JobState.FAILED, "boom")
    desk.post("b", [RANK])
    assert desk.look("rank-1") == (JobState.FAILED, [], "boom")


def test_a_lost_group_gives_its_job_to_another():
    desk = desk_with(TRAIN)
    desk.next_job("g")
    desk.lose("g", "gone", others=1)
    assert desk.next_job("h")[0] == "train-1"


def test_losing_the_last_group_fails_what_is_open():
    desk = desk_with(TRAIN, RANK)
    desk.next_job("g")
    desk.lose("g", "no GPU", others=0)
    assert desk.look("train-1")[0] is desk.look("rank-1")[0] is JobState.FAILED
    assert "no GPU" in desk.look("rank-1")[2]


def test_what_is_posted_after_closing_fails_instead_of_waiting_for_ever():
    desk = Desk(2)
    desk.close()
    desk.post("a", [TRAIN])
    assert desk.look("train-1")[0] is JobState.FAILED
    assert desk.next_job("g") == (CLOSE, None)


def test_a_group_is_renewed_after_as_many_jobs_as_asked_for():
    desk = desk_with(RANK, TRAIN, fresh_every=1)
    desk.next_job("g")
    desk.end("g", "rank-1", JobState.DONE)
    assert desk.next_job("g") == (RENEW, None)
    assert desk.next_job("g")[0] == "train-1"


def test_the_log_tells_every_state_and_row_in_order():
    desk = desk_with(TRAIN)
    desk.next_job("g")
    desk.row("g", "train-1", 1, {"x": 1.0})
    desk.end("g", "train-1", JobState.DONE)
    assert [(event.state, event.step) for event in desk.events(0)] == [
        (JobState.RUNNING, None), (JobState.RUNNING, 1), (JobState.DONE, None),
    ]  # fmt: skip
    assert desk.events(2)[0].trials == ("a",)
