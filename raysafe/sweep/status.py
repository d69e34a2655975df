"""How the sweeps of a storage stand, from what their folders hold: no Ray, no model, nothing heavy is imported."""

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from raysafe.errors import DataError
from raysafe.report.progress import Progress, TrialState, read_progress
from raysafe.report.summary import SUMMARY, TrialRow, read_summary
from raysafe.report.sweep_file import planned_trials
from raysafe.sweep.lock import LOCK, Driver, driver_of
from raysafe.sweep.places import SWEEP

State = Literal["starting", "running", "finished", "interrupted"]


@dataclass(frozen=True)
class SweepStatus:
    """A sweep's folder, its state, who drives it, its trials as its driver last told of them, and how long ago that was."""

    folder: Path
    state: State
    driver: Driver | None
    progress: Progress
    said_s: float | None = None

    @property
    def resume(self) -> str:
        """The command that goes on with it; empty where there is nothing to go on with."""
        if self.state != "interrupted":
            return ""
        file, storage = (shlex.quote(str(path)) for path in (self.folder / SWEEP, self.folder.parent))
        return f"raysafe sweep {file} --storage {storage} --resume"


def statuses(where: Path) -> list[SweepStatus]:
    """Of a sweep's folder, or of all sweeps in a storage folder, those that run first. Raises DataError if it isn't there."""
    if not where.is_dir():
        raise DataError(f"{where}: no such folder. Give a sweep's folder, STORAGE/NAME, or a storage folder.")
    folders = [where] if is_sweep(where) else sorted(path for path in where.iterdir() if path.is_dir() and is_sweep(path))
    found = [status_of(folder.absolute()) for folder in folders]
    return sorted(found, key=lambda one: one.state not in ("running", "starting"))


def is_sweep(folder: Path) -> bool:
    """Whether a sweep has been begun there."""
    return any((folder / name).exists() for name in (SWEEP, LOCK))


def status_of(folder: Path) -> SweepStatus:
    """How one sweep stands now. While it runs, elapsed and left time are those of this moment."""
    driver, told = driver_of(folder), read_progress(folder)
    progress, said_s = (told[0], max(0.0, time.time() - told[1])) if told else (from_files(folder), None)
    if driver is None:
        over = progress.trials and progress.done == len(progress.trials)
        return SweepStatus(folder, "finished" if over else "interrupted", None, still(progress), said_s)
    if not (folder / SWEEP).exists():
        return SweepStatus(folder, "starting", driver, progress, said_s)
    if told:
        left_s = None if progress.left_s is None else max(0.0, progress.left_s - told_ago(said_s))
        progress = replace(progress, elapsed_s=progress.elapsed_s + told_ago(said_s), left_s=left_s)
    return SweepStatus(folder, "running", driver, progress, said_s)


def told_ago(said_s: float | None) -> float:
    """Seconds since the driver's last word, 0 if there is none."""
    return said_s or 0.0


def still(progress: Progress) -> Progress:
    """What nobody works on does not run."""
    trials = tuple(replace(one, status="INTERRUPTED") if one.status == "RUNNING" else one for one in progress.trials)
    return replace(progress, trials=trials, stages=(), waiting="", left_s=None)


def from_files(folder: Path) -> Progress:
    """What the files of a sweep say whose driver has left no word: one that only starts, or was run by an older version."""
    rows = {row.trial: row for row in read_summary(folder / SUMMARY)} if (folder / SUMMARY).exists() else {}
    names = _names(folder) or list(rows)
    return Progress(tuple(state_of(rows[name]) if name in rows else TrialState(name, "PENDING") for name in names))


def state_of(row: TrialRow) -> TrialState:
    """A trial that has ended, as its line of the summary has it."""
    epochs = int(row.figures.get("epochs", 0))
    seconds = float(row.figures.get("wall_s", 0.0))
    return TrialState(row.trial, row.status, "", epochs, epochs, row.figures, seconds, row.error)


def _names(folder: Path) -> Sequence[str]:
    try:
        return list(planned_trials(folder))
    except (OSError, ValueError, DataError):
        return []
