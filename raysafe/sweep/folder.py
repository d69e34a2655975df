"""A sweep's folder, STORAGE/NAME: one sweep's trials, and what an earlier run of it has done."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from raysafe.artifacts import Store, write_json, write_text
from raysafe.config.sweeps import opponent_of
from raysafe.config.trials import SweepConfig, TrialPlan
from raysafe.data.overlap import OVERLAP, told
from raysafe.errors import ConfigError
from raysafe.models.fetched import Say, on_stderr
from raysafe.report.summary import SUMMARY, TrialRow, read_summary
from raysafe.stages.inputs import TrialInputs, find_inputs
from raysafe.stages.overlaps import overlap_of_all
from raysafe.sweep.places import SWEEP
from raysafe.sweep.written import former_fingerprint, sweep_document, sweep_fingerprint


@dataclass(frozen=True)
class TrialTask:
    """A trial that is to be run: its plan, what it reads, and its own folder."""

    plan: TrialPlan
    inputs: TrialInputs
    folder: Path


def tasks_of(sweep: SweepConfig, folder: Path, store: Store, say: Say = on_stderr) -> list[TrialTask]:
    """All trials of a sweep, their inputs found and checked, and those of the trials that they are compared with, so that
    nothing is left to be fetched when they run. Raises DataError."""
    for plan in sweep.trials:
        if (opponent := opponent_of(plan.config, [])) is not None:
            find_inputs(opponent, store, say)
    return [TrialTask(plan, find_inputs(plan.config, store, say), folder / "trials" / plan.name) for plan in sweep.trials]


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
        if former not in (identity, former_fingerprint(sweep)):
            raise ConfigError(
                f"--resume: the sweep in {folder} has other trials than this file (fingerprint {former}, now {identity}). "
                "Give the changed sweep another name; stages that are unchanged are reused all the same."
            )


def claim(sweep: SweepConfig, folder: Path, tasks: Sequence[TrialTask]) -> None:
    """Write `sweep.yaml`, once there are workers: from here on the name is taken. On resuming it stays as it was."""
    if not (folder / SWEEP).exists():
        written = sweep_document(sweep, {task.plan.name: task.inputs for task in tasks})
        n = sweep.trials[0].config.data.ngram
        shared = overlap_of_all((task.inputs, task.plan.config.data.ngram) for task in tasks)
        write_json(folder / OVERLAP, {"ngram": n, "said": told(shared, n), "lines": shared})
        write_text(folder / SWEEP, yaml.safe_dump(written, sort_keys=False))
