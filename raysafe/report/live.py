"""A sweep while it runs: one table that is drawn anew in a terminal, one line a change elsewhere (a log file, CI)."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from raysafe.report.figures import FIGURES, Figure

_ENDED = ("FINISHED", "STOPPED", "FAILED")
_STYLES = {"PENDING": "dim", "RUNNING": "cyan", "FINISHED": "green", "STOPPED": "yellow", "FAILED": "red"}
_ROOM_FOR_THE_REST = 7
"""Lines of a terminal that header and footer take."""


@dataclass(frozen=True)
class TrialState:
    """A trial at this moment."""

    name: str
    status: str
    """PENDING, RUNNING, FINISHED, STOPPED or FAILED."""
    stage: str = ""
    epoch: int = 0
    epochs: int = 0
    """Of how many."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """What is known of it, by name (`figures.py`)."""
    seconds: float = 0.0
    note: str = ""


class LiveTable:
    """Use as a context manager; `update` may be called as often as one likes, also from another thread."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._states: Sequence[TrialState] = ()
        self._stages_line = ""
        self._told: dict[str, tuple[object, ...]] = {}
        self._started = clock()
        drawn = console.is_terminal and not console.is_dumb_terminal
        self._live = Live(console=console, get_renderable=self.render, refresh_per_second=4, transient=True) if drawn else None

    def __enter__(self) -> "LiveTable":
        self._started = self._clock()
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *problem: Any) -> None:
        if self._live:
            self._live.stop()
        if self._states:
            self._say(self._count_line())

    def update(self, states: Sequence[TrialState], stages_line: str = "") -> None:
        """What is so now: every trial, and a line on the shared stages."""
        self._states, self._stages_line = tuple(states), stages_line
        if self._live is None:
            self._tell_changes()

    def render(self) -> Group:
        """Table and footer as they are drawn now."""
        room = max(3, self._console.height - _ROOM_FOR_THE_REST)
        shown = visible(self._states, room)
        done = sum(state.status in _ENDED for state in self._states)
        bar = ProgressBar(total=max(1, len(self._states)), completed=done, width=min(40, self._console.width // 2))
        footer = Table.grid(padding=(0, 1))
        footer.add_row(bar, self._count_line())
        hidden = len(self._states) - len(shown)
        more = [Text(f"… and {hidden} more trials", "dim")] if hidden else []
        return Group(states_table(shown), *more, footer, Text(self._stages_line, "dim"))

    def _count_line(self) -> str:
        done = sum(state.status in _ENDED for state in self._states)
        failed = sum(state.status == "FAILED" for state in self._states)
        return f"{done} of {len(self._states)} trials done{f', {failed} failed' if failed else ''}, {clock_text(self._elapsed())}"

    def _elapsed(self) -> float:
        return self._clock() - self._started

    def _tell_changes(self) -> None:
        for state in self._states:
            now = (state.status, state.stage, state.epoch)
            if self._told.get(state.name, ("PENDING", "", 0)) != now:
                self._say(f"[{clock_text(self._elapsed())}] {change_line(state)}")
            self._told[state.name] = now

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def visible(states: Sequence[TrialState], room: int) -> list[TrialState]:
    """So many of the states as there is room for: running ones first, then the last that ended, then the next to come."""
    ended = [state for state in reversed(states) if state.status in _ENDED]
    running = [state for state in states if state.status == "RUNNING"]
    pending = [state for state in states if state.status not in (*_ENDED, "RUNNING")]
    chosen = {state.name for state in [*running, *ended, *pending][:room]}
    return [state for state in states if state.name in chosen]


def states_table(states: Sequence[TrialState]) -> Table:
    """A line for each trial."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("trial", overflow="ellipsis", no_wrap=True, ratio=2)
    for name in ("status", "stage", "epoch"):
        table.add_column(name, no_wrap=True)
    for name in (*(figure.live for figure in _shown()), "time"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", overflow="ellipsis", no_wrap=True, ratio=1)
    for state in states:
        status = Text(state.status.lower(), _STYLES.get(state.status, ""))
        rates = (_text(figure, state) for figure in _shown())
        seconds = clock_text(state.seconds) if state.seconds else ""
        table.add_row(escape(state.name), status, state.stage, epoch_text(state), *rates, seconds, Text(state.note, "red"))
    return table


def change_line(state: TrialState) -> str:
    """`003-gamma0.1: running, train, epoch 2/4, win rate 0.61, safety 0.90`."""
    parts = [state.status.lower(), state.stage, f"epoch {epoch_text(state)}" if state.epoch else ""]
    parts += [f"{figure.live} {_text(figure, state)}" for figure in _shown() if _text(figure, state)]
    return f"{state.name}: {', '.join(part for part in [*parts, state.note] if part)}"


def epoch_text(state: TrialState) -> str:
    """`2/4`, empty before the first."""
    return f"{state.epoch}/{state.epochs}" if state.epoch and state.epochs else str(state.epoch or "")


def clock_text(seconds: float) -> str:
    """`2:05`, or `1:02:05` from an hour on."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _shown() -> list[Figure]:
    return [figure for figure in FIGURES if figure.live]


def _text(figure: Figure, state: TrialState) -> str:
    value = state.figures.get(figure.name)
    return "" if value is None else figure.text(value)
