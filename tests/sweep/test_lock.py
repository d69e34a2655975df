"""Whose a sweep's folder is; a second driver is a process of its own."""

import os
import subprocess
import sys
import threading

import pytest

from raysafe.errors import ConfigError
from raysafe.sweep import lock as locks
from raysafe.sweep.lock import LOCK, driver_of, held

HOLD = """\
import pathlib, sys, time
from raysafe.sweep.lock import held
with held(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds `tmp_path/sweep`."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "sweep")], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_and_told_who_runs_since_when(holder, tmp_path):
    said = rf"is running since \d{{4}}-.*, on .*, as process {holder.pid}\. "
    with pytest.raises(ConfigError, match=said) as caught, held(tmp_path / "sweep"):
        pass
    assert caught.value.exit_code == 2


def test_the_lock_dies_with_its_holder(holder, tmp_path):
    holder.kill()
    holder.wait()
    with held(tmp_path / "sweep"):
        assert (tmp_path / "sweep" / LOCK).exists()


def test_one_process_can_hold_a_folder_once_only(tmp_path):
    with held(tmp_path), pytest.raises(ConfigError, match=f"as process {os.getpid()}"), held(tmp_path):
        pass


def test_a_folder_in_which_nothing_came_to_be_is_gone_again(tmp_path):
    with held(tmp_path / "refused"):
        pass
    assert not (tmp_path / "refused").exists()


def test_what_is_in_the_folder_stays(tmp_path):
    with held(tmp_path):
        (tmp_path / "summary.csv").write_text("")
    assert [path.name for path in tmp_path.iterdir()] == ["summary.csv"]


def test_a_file_system_without_locks_is_named_as_the_reason(tmp_path, monkeypatch):
    def no_locks(file, how):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", no_locks)
    with pytest.raises(ConfigError, match=r"can't be locked \(No locks available\).*--storage"), held(tmp_path):
        pass


def test_who_drives_a_sweep_is_told_to_others_without_being_in_the_way(holder, tmp_path):
    assert driver_of(tmp_path / "sweep").process == holder.pid
    holder.kill()
    holder.wait()
    assert driver_of(tmp_path / "sweep") is None and driver_of(tmp_path / "nothing") is None
    assert not (tmp_path / "nothing").exists()


def test_a_look_at_the_lock_stops_no_driver(tmp_path):
    with held(tmp_path / "sweep"):
        path = tmp_path / "sweep" / LOCK
    path.parent.mkdir()
    look = os.open(path, os.O_RDWR | os.O_CREAT)
    locks.fcntl.flock(look, locks.fcntl.LOCK_SH)
    threading.Timer(0.1, os.close, (look,)).start()
    with held(tmp_path / "sweep"):
        assert driver_of(tmp_path / "sweep").process == os.getpid()
