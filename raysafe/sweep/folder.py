"""A sweep's folder, STORAGE/NAME: one driver at a time, one sweep's trials, and what an earlier run of it has done."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from raysafe.artifacts import Store, fingerprint, plain, write_text
from raysafe.config.trials import SweepConfig, TrialPlan
from raysafe.errors import ConfigError
from raysafe.report.summary import SUMMARY, TrialRow, read_summary
from raysafe.stages.inputs import TrialInputs, find_inputs

SWEEP = "sweep.yaml"
LOCK = ".lock"
_PACKAGES = ("raysafe", "torch", "transformers", "deepspeed", "ray", "mlflow")


@dataclass(frozen=True)
class TrialTask:
    """A trial that is to be run: its plan, what it reads, and its own folder."""

    plan: TrialPlan
    inputs: TrialInputs
    folder: Path


def tasks_of(sweep: SweepConfig, folder: Path, store: Store) -> list[TrialTask]:
    """All trials of a sweep, their inputs found and checked. Raises DataError."""
    return [TrialTask(plan, find_inputs(plan.config, store), folder / "trials" / plan.name) for plan in sweep.trials]


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
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.fstat(file).st_ino == path.stat().st_ino:
                return file
        except BlockingIOError:
            holder = os.pread(file, 4096, 0)
            os.close(file)
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


def _running(path: Path, holder: bytes) -> str:
    try:
        who = json.loads(holder)
        since = f" since {who['since']}, on {who['host']}, as process {who['process']}"
    except (ValueError, KeyError, TypeError):  # it has only just begun
        since = ""
    return (
        f"the sweep in {path.parent} is running{since}. Wait for its end, or end that process and go on with --resume; "
        "another sweep takes another name."
    )


def ended_before(folder: Path) -> list[TrialRow]:
    """Trials of an earlier run of the sweep that need not be run again: finished ones and those stopped by the scheduler."""
    if not (folder / SUMMARY).exists():
        return []
    return [row for row in read_summary(folder / SUMMARY) if row.status in ("FINISHED", "STOPPED")]


def refuse_taken(sweep: SweepConfig, folder: Path, resume: bool) -> None:
    """Raise ConfigError if the name is taken, or on resuming if it is another sweep's."""
    identity = sweep_fingerprint(sweep)
    known = folder / SWEEP
    if known.exists():
        former = yaml.safe_load(known.read_text(encoding="utf-8")).get("fingerprint")
        if not resume:
            raise ConfigError(
                f"`name`: a sweep {sweep.name!r} is already in {folder}. Add --resume to go on with it (finished trials are "
                "not run again), or give this one another name or another --storage."
            )
        if former != identity:
            raise ConfigError(
                f"--resume: the sweep in {folder} has other trials than this file (fingerprint {former}, now {identity}). "
                "Give the changed sweep another name; stages that are unchanged are reused all the same."
            )


def claim(sweep: SweepConfig, folder: Path, tasks: Sequence[TrialTask]) -> None:
    """Write `sweep.yaml`, once there are workers: from here on the name is taken. On resuming it stays as it was."""
    if not (folder / SWEEP).exists():
        write_text(folder / SWEEP, yaml.safe_dump(_resolved(sweep, tasks), sort_keys=False))


def sweep_fingerprint(sweep: SweepConfig) -> str:
    """Of all trials' configurations."""
    return fingerprint([[plan.name, plan.config] for plan in sweep.trials])


def _resolved(sweep: SweepConfig, tasks: Sequence[TrialTask]) -> dict[str, Any]:
    data: dict[str, dict[str, str]] = {}
    for task in tasks:
        for role, ref in task.inputs.data().items():
            data.setdefault(role, {})[ref.path] = ref.fingerprint
    return {
        **plain(sweep.resolved),
        "fingerprint": sweep_fingerprint(sweep),
        "versions": {name: version(name) for name in _PACKAGES},
        "datasets": data,
        "trials": {task.plan.name: plain(task.plan.config) for task in tasks},
    }
