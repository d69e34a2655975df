"""A sweep while it runs: one table that is drawn anew in a terminal, one line a change elsewhere (a log file, CI).

Before there are trials it tells the steps of the start, each as it begins, so that nobody looks at an empty screen.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from raysafe.report.figures import FIGURES, Figure
from raysafe.report.progress import ENDED, Progress, TrialState, fraction

_STYLES = {"PENDING": "dim", "RUNNING": "cyan", "FINISHED": "green", "STOPPED": "yellow", "FAILED": "red"}
_ROOM_FOR_THE_REST = 8
"""Lines of a terminal that header and footer take."""
_STATE_WIDTH, _TIME_WIDTH, _LEAST_NAME = 18, 7, 12
_NOTE_WIDTH = 40
_GAP = 2


class LiveTable:
    """`step` from the first second; then use it as a context manager, in which `update` may be called as often as one likes,
    also from another thread. `lines`: one line a change in a terminal, too."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic, lines: bool = False) -> None:
        self.console, self._clock = console, clock
        self._now = Progress()
        self._told: dict[str, object] = {}
        self._started = clock()
        drawn = console.is_terminal and not console.is_dumb_terminal and not lines
        self._live = Live(console=console, get_renderable=self.render, refresh_per_second=4, transient=True) if drawn else None

    def __enter__(self) -> "LiveTable":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *problem: Any) -> None:
        if self._live:
            self._live.stop()
        if self._now.trials:
            self._say(self._count_line(ended=True))

    def step(self, text: str) -> None:
        """What is done from now on, before there are trials: a line at once, `[0:02] starting Ray`."""
        self._say(f"[{clock_text(self.elapsed)}] {text}")

    @property
    def elapsed(self) -> float:
        """Seconds since the command began."""
        return self._clock() - self._started

    def update(self, now: Progress) -> None:
        """What is so now."""
        self._now = now
        if self._live is None:
            self._tell_changes()

    def render(self) -> Group:
        """Table and footer as they are drawn now."""
        now, width = self._now, self.console.width
        room = max(3, self.console.height - _ROOM_FOR_THE_REST)
        failures = [state for state in now.trials if state.note] if width < _width_with_notes() else []
        shown = visible(now.trials, max(1, room - len(failures[-3:])))
        bar = ProgressBar(total=max(1, len(now.trials)), completed=now.done, width=min(30, width // 3))
        footer = Table.grid(padding=(0, 1))
        footer.add_row(bar, self._count_line())
        hidden = len(now.trials) - len(shown)
        more = [Text(f"… and {hidden} more trials", "dim")] if hidden else []
        notes = [_line(f"{shortened(state.name, width // 2)}: {state.note}", "red") for state in failures[-3:]]
        waiting = [_line(now.waiting, "cyan")] if now.waiting else []
        warning = [_line(f"warning: {now.warnings[-1]}", "yellow")] if now.warnings else []
        return Group(states_table(shown, width), *more, *notes, footer, *waiting, _line(now.stages_line(), "dim"), *warning)

    def _count_line(self, ended: bool = False) -> str:
        now = self._now
        failed = f", {now.failed} failed" if now.failed else ""
        left = f", about {clock_text(now.left_s)} left" if now.left_s and not ended else ""
        return f"{now.done} of {len(now.trials)} trials done{failed}, {clock_text(self.elapsed)}{left}"

    def _tell_changes(self) -> None:
        now = self._now
        if self._changed("waiting", now.waiting, "") and now.waiting:
            self.step(now.waiting)
        for stage in now.stages:
            if self._changed(stage.name, stage.epoch):
                self.step(f"{stage.name}: {f'{stage.unit} {stage.progress}' if stage.epoch else 'running'}")
        for state in now.trials:
            if self._changed(f"trial {state.name}", (state.status, state.stage, state.epoch), ("PENDING", "", 0)):
                left = f" (about {clock_text(now.left_s)} left)" if now.left_s and state.status in ENDED else ""
                self.step(change_line(state) + left)
        for warning in now.warnings:
            if self._changed(f"warning {warning}", True):
                self._say(f"warning: {warning}")

    def _changed(self, name: str, value: object, before: object = None) -> bool:
        changed = self._told.get(name, before) != value
        self._told[name] = value
        return changed

    def _say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def visible(states: Sequence[TrialState], room: int) -> list[TrialState]:
    """So many of the states as there is room for: running ones first, then the last that ended, then the next to come."""
    ended = [state for state in reversed(states) if state.status in ENDED]
    running = [state for state in states if state.status == "RUNNING"]
    pending = [state for state in states if state.status not in (*ENDED, "RUNNING")]
    chosen = {state.name for state in [*running, *ended, *pending][:room]}
    return [state for state in states if state.name in chosen]


def states_table(states: Sequence[TrialState], width: int) -> Table:
    """A line for each trial. Names give way first, in their middle, then the column of notes: never the figures."""
    notes = width >= _width_with_notes() and any(state.note for state in states)
    figures = _shown()
    taken = _STATE_WIDTH + _TIME_WIDTH + 3 * _GAP + sum(len(figure.live) + _GAP for figure in figures)
    room = max(_LEAST_NAME, width - taken - (_NOTE_WIDTH if notes else 0))
    table = Table(box=None, padding=(0, _GAP, 0, 0), header_style="bold")
    table.add_column("trial", no_wrap=True)
    table.add_column("state", no_wrap=True, width=_STATE_WIDTH, overflow="ellipsis")
    for figure in figures:
        table.add_column(figure.live, justify="right", no_wrap=True, min_width=len(figure.live))
    table.add_column("time", justify="right", no_wrap=True, min_width=_TIME_WIDTH)
    if notes:
        table.add_column("", overflow="ellipsis", no_wrap=True, width=_NOTE_WIDTH - _GAP)
    for state in states:
        rates = (_text(figure, state.figures) for figure in figures)
        seconds = clock_text(state.seconds) if state.seconds else ""
        note = [Text(state.note, "red")] if notes else []
        state_cell = Text(state_text(state), _STYLES.get(state.status, ""))
        table.add_row(escape(shortened(state.name, room)), state_cell, *rates, seconds, *note)
    return table


def state_text(state: TrialState) -> str:
    """`train 2/4` while it runs, `finished 4/4` after its end."""
    if state.status == "RUNNING":
        return f"{state.stage or 'waiting'} {state.progress}".strip()
    return f"{state.status.lower()} {epoch_text(state)}".strip()


def shortened(name: str, room: int) -> str:
    """A name in so many characters: where it is too long its middle goes, as names of trials differ at both ends."""
    if len(name) <= room:
        return name
    front = (room - 1) // 2
    return f"{name[:front]}…{name[len(name) - (room - 1 - front) :]}"


def change_line(state: TrialState) -> str:
    """`003-gamma0.1: running, train, epoch 2/4, win rate 0.61, safety 0.90`."""
    parts = [state.status.lower(), state.stage, f"epoch {epoch_text(state)}" if state.epoch else ""]
    parts += headline(state.figures)
    return f"{state.name}: {', '.join(part for part in [*parts, state.note] if part)}"


def headline(figures: Mapping[str, Any]) -> list[str]:
    """The live figures that are known: `win rate 0.61`, `safety 0.90`."""
    return [f"{figure.live} {_text(figure, figures)}" for figure in _shown() if _text(figure, figures)]


def epoch_text(state: TrialState) -> str:
    """`2/4`, empty before the first."""
    return fraction(state.epoch, state.epochs)


def clock_text(seconds: float) -> str:
    """`2:05`, or `1:02:05` from an hour on."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _line(text: str, style: str) -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")


def _width_with_notes() -> int:
    figures = sum(len(figure.live) + _GAP for figure in _shown())
    return _STATE_WIDTH + _TIME_WIDTH + 3 * _GAP + figures + 30 + _NOTE_WIDTH


def _shown() -> list[Figure]:
    return [figure for figure in FIGURES if figure.live]


def _text(figure: Figure, figures: Mapping[str, Any]) -> str:
    value = figures.get(figure.name)
    return "" if value is None else figure.text(value)
