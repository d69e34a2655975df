from dataclasses import replace
from io import StringIO

from rich.console import Console

from raysafe.report.live import LiveTable, TrialState, clock_text, visible

RATES = {"win_rate": 0.5, "safety_score": 0.75, "utility": 1.0}
PENDING = TrialState("000-a", "PENDING", epochs=4)
TRAINING = TrialState("000-a", "RUNNING", "train", 1, 4, RATES, 65.0)
DONE = TrialState("000-a", "FINISHED", "", 4, 4, RATES, 80.0)


class Clock:
    """Ten seconds more each time it is asked."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 10
        return self.now


def told(*states: TrialState) -> list[str]:
    console = Console(file=StringIO(), width=40)
    with LiveTable(console, Clock()) as live:
        for state in states:
            live.update([state], "shared stages: 1 made")
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def drawn(states: list[TrialState], height: int = 24) -> str:
    console = Console(file=StringIO(), width=100, height=height, force_terminal=True, color_system=None)
    live = LiveTable(console, lambda: 0.0)
    live._states, live._stages_line = states, "shared stages: 2 made"
    console.print(live.render())
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_log_has_one_line_a_change_and_the_count_at_the_end() -> None:
    lines = told(PENDING, TRAINING, TRAINING, replace(TRAINING, seconds=70.0, figures={"win_rate": 0.6}), DONE, DONE)
    assert lines == [
        "[0:10] 000-a: running, train, epoch 1/4, win rate 0.50, safety 0.75",
        "[0:20] 000-a: finished, epoch 4/4, win rate 0.50, safety 0.75",
        "1 of 1 trials done, 0:30",
    ]


def test_a_log_says_why_a_trial_failed() -> None:
    lines = told(replace(PENDING, status="FAILED", note="out of [memory]"))
    assert lines == ["[0:10] 000-a: failed, out of [memory]", "1 of 1 trials done, 1 failed, 0:20"]


def test_a_sweep_that_never_began_says_nothing() -> None:
    assert told() == []


def test_a_terminal_shows_trials_progress_and_shared_stages() -> None:
    text = drawn([DONE, replace(TRAINING, name="001-b"), replace(PENDING, name="[002]")])
    for part in ("001-b", "running", "1/4", "0.50", "1:05", "[002]", "1 of 3 trials done", "shared stages: 2 made"):
        assert part in text


def test_a_terminal_is_drawn_over_and_left_clean() -> None:
    console = Console(file=StringIO(), width=100, height=24, force_terminal=True, color_system=None)
    with LiveTable(console) as live:
        live.update([TRAINING])
    assert console.file.getvalue().rstrip().endswith("0 of 1 trials done, 0:00")  # type: ignore[attr-defined]


def test_more_trials_than_lines_are_counted() -> None:
    states = [replace(PENDING, name=f"{place:03d}") for place in range(50)]
    text = drawn(states, height=17)
    assert "… and 40 more trials" in text
    assert len(text.splitlines()) <= 17


def test_running_trials_are_shown_before_ended_and_pending_ones() -> None:
    states = [replace(DONE, name="a"), replace(DONE, name="b"), replace(TRAINING, name="c"), replace(PENDING, name="d")]
    assert [state.name for state in visible(states, 2)] == ["b", "c"]


def test_hours_are_shown_from_an_hour_on() -> None:
    assert (clock_text(59.9), clock_text(3725)) == ("0:59", "1:02:05")
