"""Ctrl-C, SIGTERM and SIGHUP end a command in the same way: what has been started is put away, one sentence, 128 + the signal.

Until something has been started that must be put away (`started`), a signal ends the process at once: in the middle of an
import nothing is to be saved, and libraries turn an exception there into all sorts of others.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SHOW_CURSOR = "\x1b[?25h"
SAME_GOODBYE_S = 2.0
"""A second signal within so many seconds belongs to the first: a closing terminal sends several. A later one ends at once."""


class Interrupted(KeyboardInterrupt):
    """The command was asked to end; `exit_code` is what the shell gets."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"signal {signum}")
        self.exit_code = 128 + signum


class _Handler:
    """The one handler of this process. `goodbye` is the sentence that a user reads."""

    def __init__(self) -> None:
        self.goodbye, self.something_started = "Interrupted.", False
        self.asked: Interrupted | None = None
        self.since = 0.0

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGHUP:
            _leave_the_terminal()
        if self.asked is None:
            self.asked, self.since = Interrupted(signum), time.monotonic()
            if self.something_started:
                raise self.asked
            leave()
        if time.monotonic() - self.since > SAME_GOODBYE_S:
            leave()


_handler = _Handler()


@contextmanager
def listening(goodbye: str) -> Iterator[None]:
    """Handle the signals inside; those that the caller has set to be ignored stay so (`nohup`)."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python handles signals in the main thread only
        return
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    _handler.goodbye, _handler.asked, _handler.something_started = goodbye, None, False
    try:
        _take(before)
        yield
    finally:
        for signum, handler in before.items():
            if handler is not None:  # one that Python did not set can't be set by it
                signal.signal(signum, handler)


def _take(before: Mapping[signal.Signals, Any]) -> None:
    for signum, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(signum, _handler)


@contextmanager
def started(start: Callable[[], None]) -> Iterator[None]:
    """`start` brings up what must be put away: inside, a signal is raised as `Interrupted` so that every `finally` is reached.

    Ray takes SIGTERM for itself when it starts; it is taken back. Without `listening` (a library's caller) nothing is changed.
    """
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    ours = _handler in before.values()
    _handler.something_started = ours
    try:
        start()
        if ours:
            _take(before)
        yield
    finally:
        _handler.something_started = False


def check() -> None:
    """Raise `Interrupted` if a signal came and its exception was lost on the way, as in a callback of a library."""
    if _handler.asked is not None:
        raise _handler.asked


def leave() -> NoReturn:
    """Say goodbye and end this process now: threads may still wait for Ray's processes, which end with this one.

    The code is that of the signal that came, whatever became of its exception: Ray raises a bare KeyboardInterrupt instead.
    """
    with suppress(OSError, ValueError):
        shown = SHOW_CURSOR if sys.stderr.isatty() else ""  # a table that was being drawn may have hidden it
        print(f"{shown}\n{_handler.goodbye}", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(_handler.asked.exit_code if _handler.asked else 128 + signal.SIGINT)


def _leave_the_terminal() -> None:
    """Nobody reads it any more, and writing to it would fail in the middle of putting things away."""
    for stream in (1, 2):
        if os.isatty(stream):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
