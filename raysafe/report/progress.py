"""How a sweep stands at this moment: what the live table draws, and what `progress.json` holds for others to read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raysafe.artifacts import write_json

PROGRESS = "progress.json"
ENDED = ("FINISHED", "STOPPED", "FAILED")


@dataclass(frozen=True)
class TrialState:
    """A trial at this moment."""

    name: str
    status: str
    """PENDING, RUNNING, FINISHED, STOPPED or FAILED."""
    stage: str = ""
    epoch: int = 0
    epochs: int = 0
    """Of how many, in its own training."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """What is known of it, by name (`figures.py`)."""
    seconds: float = 0.0
    note: str = ""
    progress: str = ""
    """How far the stage is, as `2/3`, where it tells its epochs."""


@dataclass(frozen=True)
class StageState:
    """A shared stage that runs now. `name`: its label and the beginning of its key."""

    name: str
    label: str
    epoch: int = 0
    epochs: int = 0
    """0: it tells none."""
    unit: str = "epoch"

    @property
    def progress(self) -> str:
        """`2/3`, empty before the first epoch."""
        return fraction(self.epoch, self.epochs)


@dataclass(frozen=True)
class Progress:
    """A sweep at this moment. `waiting`: what it waits for, in words; `left_s`: seconds that it still takes, estimated from
    finished work, None while nothing is known; `made`: shared stages that are there; `warnings`: of its rankings."""

    trials: tuple[TrialState, ...] = ()
    stages: tuple[StageState, ...] = ()
    made: int = 0
    waiting: str = ""
    left_s: float | None = None
    elapsed_s: float = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def done(self) -> int:
        """Trials that have ended."""
        return sum(trial.status in ENDED for trial in self.trials)

    @property
    def failed(self) -> int:
        """Trials that have failed."""
        return sum(trial.status == "FAILED" for trial in self.trials)

    def stages_line(self) -> str:
        """Shared stages made and running, with how far they are: `shared stages: 2 made, running: rank 2/3`."""
        running = [f"{stage.label} {stage.progress}".strip() for stage in self.stages]
        return f"shared stages: {self.made} made" + (f", running: {', '.join(running)}" if running else "")


def fraction(part: int, whole: int) -> str:
    """`2/4`, empty before the first."""
    return f"{part}/{whole}" if part and whole else str(part or "")


def write_progress(folder: Path, progress: Progress, at: float) -> None:
    """Write a sweep's `progress.json`, whole. `at`: now, in seconds since 1970."""
    write_json(folder / PROGRESS, {"at": at, "progress": progress})


def read_progress(folder: Path) -> tuple[Progress, float] | None:
    """The last word of a sweep's driver, and when it was said; None where there is none, or it is of another version."""
    try:
        raw = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
        told = dict(raw["progress"])
        trials = tuple(TrialState(**trial) for trial in told.pop("trials"))
        stages = tuple(StageState(**stage) for stage in told.pop("stages"))
        warnings = tuple(told.pop("warnings"))
        return Progress(trials=trials, stages=stages, warnings=warnings, **told), float(raw["at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
