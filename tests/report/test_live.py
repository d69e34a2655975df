from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from raysafe.report.live import LiveTable, clock_text, shortened, state_text, visible
from raysafe.report.progress import Progress, StageState, TrialState, read_progress, write_progress

RATES = {"win_rate": 0.5, "safety_score": 0.75, "utility": 1.0}
PENDING = TrialState("000-a", "PENDING", epochs=4)
TRAINING = TrialState("000-a", "RUNNING", "train", 1, 4, RATES, 65.0, progress="1/4")
DONE = TrialState("000-a", "FINISHED", "", 4, 4, RATES, 80.0)
LONG = "003-gamma0.1-percent70-wdoor-align0.2-beta0.5-tau5.0-seed12"


class Clock:
    """Ten seconds more each time it is asked."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 10
        return self.now


def told(*moments: Progress) -> list[str]:
    console = Console(file=StringIO(), width=40)
    with LiveTable(console, Clock()) as live:
        for moment in moments:
            live.update(moment)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def of(*states: TrialState) -> list[Progress]:
    return [Progress((state,), made=1) for state in states]


def drawn(now: Progress, height: int = 24, width: int = 100) -> str:
    console = Console(file=StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    live = LiveTable(console, lambda: 0.0)
    live._now = now
    console.print(live.render())
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_log_has_one_line_a_change_and_the_count_at_the_end() -> None:
    lines = told(*of(PENDING, TRAINING, TRAINING, replace(TRAINING, seconds=70.0, figures={"win_rate": 0.6}), DONE, DONE))
    assert lines == [
        "[0:10] 000-a: running, train, epoch 1/4, win rate 0.50, safety 0.75",
        "[0:20] 000-a: finished, epoch 4/4, win rate 0.50, safety 0.75",
        "1 of 1 trials done, 0:30",
    ]


def test_a_log_says_why_a_trial_failed() -> None:
    lines = told(*of(replace(PENDING, status="FAILED", note="out of [memory]")))
    assert lines == ["[0:10] 000-a: failed, out of [memory]", "1 of 1 trials done, 1 failed, 0:20"]


def test_a_log_tells_once_what_is_waited_for_how_far_shared_stages_are_and_warnings() -> None:
    rank = StageState("rank 8cf6", "rank", 0, 3)
    now = Progress((PENDING,), (rank,), waiting="waiting for workers: 0 of 2 groups", warnings=("weights hardly differ",))
    further = replace(now, waiting="", stages=(replace(rank, epoch=2),))
    assert told(now, now, further, further) == [
        "[0:10] waiting for workers: 0 of 2 groups",
        "[0:20] rank 8cf6: running",
        "warning: weights hardly differ",
        "[0:30] rank 8cf6: epoch 2/3",
        "0 of 1 trials done, 0:40",
    ]


def test_a_trial_that_ends_says_how_long_the_rest_takes() -> None:
    line, _ = told(Progress((DONE, replace(PENDING, name="001-b")), left_s=125.0))
    assert line.endswith("safety 0.75 (about 2:05 left)")


def test_a_step_is_said_at_once_with_the_time() -> None:
    console = Console(file=StringIO())
    LiveTable(console, Clock()).step("starting Ray")
    assert console.file.getvalue() == "[0:10] starting Ray\n"  # type: ignore[attr-defined]


def test_a_sweep_that_never_began_says_nothing() -> None:
    assert told() == []


def test_a_terminal_shows_trials_progress_and_shared_stages() -> None:
    stages = (StageState("rank 8cf6", "rank", 2, 3),)
    trials = (DONE, replace(TRAINING, name="001-b"), replace(PENDING, name="[002]"))
    text = drawn(Progress(trials, stages, 2, "making the base model", 61.0))
    for part in ("001-b", "train 1/4", "0.50", "1:05", "[002]", "1 of 3 trials done", "shared stages: 2 made, running: rank 2/3"):
        assert part in text
    assert "making the base model" in text and "about 1:01 left" in text


@pytest.mark.parametrize("width", [80, 72])
def test_a_narrow_terminal_keeps_headline_figures_and_both_ends_of_long_names(width: int) -> None:
    failed = replace(DONE, name=LONG.replace("003", "004"), status="FAILED", note="CUDA out of memory, and so on " * 4)
    lines = drawn(Progress((replace(TRAINING, name=LONG), failed)), width=width).splitlines()
    assert max(map(len, lines)) <= width
    (row,) = [line for line in lines if "train 1/4" in line]
    assert row.startswith("003-gamma") and "seed12" in row and row.split()[-3:] == ["0.50", "0.75", "1:05"]
    assert "win rate" in lines[0] and "safety" in lines[0] and "time" in lines[0]
    assert any("CUDA out of memory" in line for line in lines)


def test_a_wide_terminal_has_a_column_for_what_went_wrong() -> None:
    text = drawn(Progress((replace(DONE, status="FAILED", note="out of memory"),)), width=140)
    (row,) = [line for line in text.splitlines() if "failed" in line and "000-a" in line]
    assert row.rstrip().endswith("out of memory")


def test_a_terminal_is_drawn_over_and_left_clean() -> None:
    console = Console(file=StringIO(), width=100, height=24, force_terminal=True, color_system=None)
    with LiveTable(console) as live:
        live.update(Progress((TRAINING,)))
    assert console.file.getvalue().rstrip().endswith("0 of 1 trials done, 0:00")  # type: ignore[attr-defined]


def test_a_terminal_may_be_told_in_lines() -> None:
    console = Console(file=StringIO(), width=100, height=24, force_terminal=True, color_system=None)
    with LiveTable(console, lambda: 0.0, lines=True) as live:
        live.update(Progress((TRAINING,)))
    assert console.file.getvalue().startswith("[0:00] 000-a: running, train")  # type: ignore[attr-defined]


def test_more_trials_than_lines_are_counted() -> None:
    states = tuple(replace(PENDING, name=f"{place:03d}") for place in range(50))
    text = drawn(Progress(states, waiting="waiting", warnings=("w",)), height=18)
    assert "… and 40 more trials" in text
    assert len(text.splitlines()) <= 18


def test_running_trials_are_shown_before_ended_and_pending_ones() -> None:
    states = [replace(DONE, name="a"), replace(DONE, name="b"), replace(TRAINING, name="c"), replace(PENDING, name="d")]
    assert [state.name for state in visible(states, 2)] == ["b", "c"]


def test_hours_are_shown_from_an_hour_on() -> None:
    assert (clock_text(59.9), clock_text(3725)) == ("0:59", "1:02:05")


def test_a_running_trial_without_work_waits() -> None:
    assert [state_text(state) for state in (PENDING, replace(TRAINING, stage="", progress=""))] == ["pending", "waiting"]


def test_a_name_is_cut_in_its_middle() -> None:
    assert (shortened("abcdefgh", 5), shortened("abc", 5)) == ("ab…gh", "abc")


def test_what_is_written_for_others_is_read_again(tmp_path) -> None:
    now = Progress((DONE, TRAINING), (StageState("rank 8c", "rank", 1, 2),), 3, "", 12.5, 80.0, ("w",))
    write_progress(tmp_path, now, 1000.0)
    assert read_progress(tmp_path) == (now, 1000.0)


@pytest.mark.parametrize("text", ["", "[]", '{"at": 1, "progress": {"trials": [{"what": 1}]}}'])
def test_what_is_no_progress_is_none(tmp_path, text) -> None:
    (tmp_path / "progress.json").write_text(text)
    assert read_progress(tmp_path) is None
