"""The lock of a sweep's folder: one driver at a time, and whoever asks is told which one."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from raysafe.errors import ConfigError

LOCK = ".lock"
PATIENCE_S = 0.3


@dataclass(frozen=True)
class Driver:
    """A process that runs a sweep; empty where it has not said yet who it is."""

    since: str = ""
    host: str = ""
    process: int = 0


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Be the folder's only driver, for as long as this process lives: the operating system lets go when it dies.

    Raises ConfigError, within a moment, if another driver has it, or if it can't be made or locked.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: can't be made ({error.strerror}). Name another with --storage.") from error
    file = _locked(folder / LOCK)
    try:
        _say_who(file)
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        os.close(file)
        with suppress(OSError):  # a sweep that was refused leaves no empty folder
            folder.rmdir()


def _locked(path: Path) -> int:
    """The open file of the lock. A file that its holder removed in the meantime is no lock: try again with the new one."""
    until = time.monotonic() + PATIENCE_S
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.fstat(file).st_ino == path.stat().st_ino:
                return file
        except BlockingIOError:
            holder = os.pread(file, 4096, 0)
            os.close(file)
            if time.monotonic() < until:  # somebody may only have looked whether it is held
                time.sleep(PATIENCE_S / 5)
                continue
            raise ConfigError(_running(path, holder)) from None
        except OSError as error:
            os.close(file)
            raise ConfigError(
                f"{path}: can't be locked ({error.strerror}). A sweep's folder must lie on a file system with locks (flock), so "
                "that no two drivers write into it: mount the share with them, or name another --storage."
            ) from error
        os.close(file)


def _say_who(file: int) -> None:
    who = {"since": time.strftime("%Y-%m-%d %H:%M:%S %Z"), "host": socket.gethostname(), "process": os.getpid()}
    os.ftruncate(file, 0)
    os.pwrite(file, json.dumps(who).encode(), 0)


def driver_of(folder: Path) -> Driver | None:
    """Who drives the sweep in a folder now; None if nobody does. It looks for a moment, makes nothing, and waits for nobody."""
    try:
        file = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _driver(os.pread(file, 4096, 0))
    finally:
        os.close(file)
    return None


def _driver(holder: bytes) -> Driver:
    try:
        return Driver(**json.loads(holder))
    except (ValueError, TypeError):  # it has only just begun
        return Driver()


def _running(path: Path, holder: bytes) -> str:
    who = _driver(holder)
    since = f" since {who.since}, on {who.host}, as process {who.process}" if who.process else ""
    return (
        f"the sweep in {path.parent} is running{since}. Wait for its end, or end that process and go on with --resume; "
        "another sweep takes another name."
    )
