"""Signals by themselves; what a whole sweep makes of them is in tests/cluster."""

import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from processes import listening as hearing

from raysafe.sweep import signals
from raysafe.sweep.signals import Interrupted, listening, started

SCRIPT = """
import sys, time
from raysafe.sweep.signals import leave, listening, started
with listening("Goodbye."):
    if sys.argv[1] == "before":
        print("ready", flush=True); time.sleep(60)
    try:
        with started(lambda: None):
            try:
                print("ready", flush=True); time.sleep(60)
            finally:
                print("put away", flush=True)
    except KeyboardInterrupt:
        leave()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize(("when", "put_away"), [("before", ""), ("after", "put away\n")])
def test_a_process_ends_with_its_sentence_after_putting_away_what_was_started(number, code, when, put_away):
    command = hearing([sys.executable, "-c", SCRIPT, when])
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.strip()) == (code, put_away, "Goodbye.")


def test_the_cursor_is_shown_again_on_a_terminal():
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", SCRIPT, "before"], stdout=subprocess.PIPE, stderr=theirs) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    assert os.read(ours, 100).decode().startswith(signals.SHOW_CURSOR)
    os.close(ours)
    os.close(theirs)


@pytest.fixture
def terminable():
    """SIGTERM as a process has it by default, whatever tests have made of it."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def test_an_interruption_that_a_library_swallows_is_raised_again_at_the_next_check(terminable):
    with listening("Goodbye."), started(lambda: None):
        with suppress(Interrupted):  # as a callback of a library may do
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted) as caught:
            signals.check()
    assert caught.value.exit_code == 143


def test_several_signals_at_once_are_one(terminable):
    with listening("Goodbye."), started(lambda: None):
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # would end this process at once, later


def test_what_ray_takes_for_itself_is_taken_back_and_in_the_end_all_is_as_it_was(terminable):
    def start():
        signal.signal(signal.SIGTERM, signal.default_int_handler)

    with listening("Goodbye."), started(start), pytest.raises(Interrupted):
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_that_is_ignored_stays_ignored(terminable):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with listening("Goodbye."), started(lambda: None):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_librarys_caller_keeps_its_own_handlers(terminable):
    with started(lambda: None):
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
