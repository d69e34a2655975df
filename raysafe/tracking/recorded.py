"""A run as a store has it, read back."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RecordedRun:
    """A trial's run. `name`: the trial's; `metrics`: the last value of each; `files`: a folder with what was kept of it
    (`config.yaml`, `selection.parquet`) and its sweep's `sweep.yaml`, as far as they are there."""

    run_id: str
    sweep: str
    name: str
    status: str
    metrics: Mapping[str, float]
    files: Path


FILES = ("config.yaml", "selection.parquet")
OF_SWEEP = ("sweep.yaml",)
