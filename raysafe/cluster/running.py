"""`run_sweep`: from a checked configuration to finished trials, and what the other commands need of the cluster."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import yaml
from rich.console import Console

from raysafe.artifacts import Store, fingerprint, plain, write_text
from raysafe.cluster.groups import Groups, connect, still_at_work, worker_groups
from raysafe.cluster.record import Recorder, SweepRecord
from raysafe.cluster.tuning import TrialTask, run_tune
from raysafe.config.trials import SweepConfig
from raysafe.errors import ConfigError
from raysafe.report.live import LiveTable
from raysafe.report.summary import SUMMARY, TrialRow, read_summary
from raysafe.stages.inputs import find_inputs
from raysafe.stages.sandbox import BaseStage
from raysafe.tracking.mlflow import MlflowTracker, store_uri

STORAGE = "runs"
"""Where results go unless told otherwise, under the current folder."""


@dataclass(frozen=True)
class RunOptions:
    """How a sweep is run, as opposed to what it is. `address`: a Ray cluster to join; None starts Ray here."""

    storage: Path = Path(STORAGE)
    tracking_uri: str | None = None
    resume: bool = False
    address: str | None = None


@dataclass(frozen=True)
class SweepResult:
    """How a sweep ended: 0 or 1 for the shell, its folder, and where it is tracked."""

    exit_code: int
    folder: Path
    tracking_uri: str


def run_sweep(sweep: SweepConfig, options: RunOptions | None = None, console: Console | None = None) -> SweepResult:
    """Run all trials of a sweep, in parallel as the cluster allows.

    Raises ConfigError or DataError before anything starts; a trial that fails ends as FAILED in `summary.csv`.
    """
    options, console = options or RunOptions(), console or Console(stderr=True)
    folder = options.storage.absolute() / sweep.name
    store = Store(options.storage)
    tasks = [TrialTask(plan, find_inputs(plan.config, store), folder / "trials" / plan.name) for plan in sweep.trials]
    refuse_taken(sweep, folder, options.resume)
    kept = ended_before(folder) if options.resume else []
    open_tasks = [task for task in tasks if task.plan.name not in {row.trial for row in kept}]
    uri = options.tracking_uri or store_uri(options.storage.absolute())
    failed = run_open(sweep, open_tasks, kept, replace(options, tracking_uri=uri), console) if open_tasks else False
    return SweepResult(int(failed), folder, uri)


def run_open(sweep: SweepConfig, tasks: list[TrialTask], kept: list[TrialRow], options: RunOptions, console: Console) -> bool:
    """Run the trials that have not ended yet; whether one of them failed."""
    with ThreadPoolExecutor(1) as pool:
        tracker = pool.submit(MlflowTracker, str(options.tracking_uri), sweep.name)  # seconds, while Ray starts
        growing, useful = options.address is not None, max(2, len(tasks))
        with ray_session(options.address), worker_groups(options.storage, sweep.resources, growing, useful) as groups:
            claim(sweep, tasks)
            groups.begin([BaseStage(task.plan.config.sandbox) for task in tasks if task.inputs.model is None])
            record = SweepRecord(sweep, tasks, groups, kept)
            with LiveTable(console) as live, Recorder(record, tracker.result(), live):
                run_tune(sweep, tasks, groups, record.callback)
    return any(trial.status == "FAILED" for trial in record.trials)


def ended_before(folder: Path) -> list[TrialRow]:
    """Trials of an earlier run of the sweep that need not be run again: finished ones and those stopped by the scheduler."""
    if not (folder / SUMMARY).exists():
        return []
    return [row for row in read_summary(folder / SUMMARY) if row.status in ("FINISHED", "STOPPED")]


def refuse_taken(sweep: SweepConfig, folder: Path, resume: bool) -> None:
    """Raise ConfigError if the name is taken, or on resuming if it is another sweep's."""
    identity = sweep_fingerprint(sweep)
    known = folder / "sweep.yaml"
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


def claim(sweep: SweepConfig, tasks: list[TrialTask]) -> None:
    """Write `sweep.yaml`, once there are workers: from here on the name is taken. On resuming it stays as it was."""
    path = tasks[0].folder.parent.parent / "sweep.yaml"
    if not path.exists():
        write_text(path, yaml.safe_dump(_resolved(sweep, tasks, sweep_fingerprint(sweep)), sort_keys=False))


def sweep_fingerprint(sweep: SweepConfig) -> str:
    """Of all trials' configurations."""
    return fingerprint([[plan.name, plan.config] for plan in sweep.trials])


def _resolved(sweep: SweepConfig, tasks: list[TrialTask], identity: str) -> dict[str, Any]:
    from importlib.metadata import version

    data: dict[str, dict[str, str]] = {}
    for task in tasks:
        for role, ref in task.inputs.data().items():
            data.setdefault(role, {})[ref.path] = ref.fingerprint
    return {
        **plain(sweep.resolved),
        "fingerprint": identity,
        "versions": {name: version(name) for name in ("raysafe", "torch", "transformers", "deepspeed", "ray", "mlflow")},
        "datasets": data,
        "trials": {task.plan.name: plain(task.plan.config) for task in tasks},
    }


@contextmanager
def ray_session(address: str | None) -> Iterator[None]:
    """Ray for the time of a command; one that was running already is left as it is."""
    ours = not ray.is_initialized()
    if ours:
        connect(address)
    try:
        yield
    finally:
        if ours and not still_at_work():
            ray.shutdown()


@contextmanager
def one_trial(name: str, sweep: SweepConfig, options: RunOptions) -> Iterator[tuple[Groups, TrialTask]]:
    """One group of workers for the first trial without a sweep: its task, called `name`, and the groups to launch stages on."""
    store, plan = Store(options.storage), replace(sweep.trials[0], name=name)
    task = TrialTask(plan, find_inputs(plan.config, store), options.storage.absolute() / "single" / name)
    one_group = replace(sweep.resources, groups=1)
    with ray_session(options.address), worker_groups(options.storage, one_group, options.address is not None) as groups:
        yield groups, task


def default_storage() -> Path:
    """`RAYSAFE_STORAGE`, or `runs` under the current folder."""
    return Path(os.environ.get("RAYSAFE_STORAGE", STORAGE))
