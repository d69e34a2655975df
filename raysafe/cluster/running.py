"""`run_sweep`: from a checked configuration to finished trials, and what the other commands need of the cluster."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import ray
from rich.console import Console

from raysafe.artifacts import Store
from raysafe.cluster.groups import Groups, connect, still_at_work, worker_groups
from raysafe.cluster.record import Recorder, SweepRecord
from raysafe.cluster.tuning import run_tune
from raysafe.config.trials import SweepConfig
from raysafe.report.live import LiveTable
from raysafe.report.summary import TrialRow
from raysafe.stages.inputs import find_inputs
from raysafe.stages.sandbox import BaseStage
from raysafe.sweep import signals
from raysafe.sweep.folder import TrialTask, claim, ended_before, held, refuse_taken, tasks_of
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
    uri = options.tracking_uri or store_uri(options.storage.absolute())
    with held(folder):
        refuse_taken(sweep, folder, options.resume)
        tasks = tasks_of(sweep, folder, Store(options.storage))
        kept = ended_before(folder) if options.resume else []
        open_tasks = [task for task in tasks if task.plan.name not in {row.trial for row in kept}]
        failed = run_open(sweep, open_tasks, kept, replace(options, tracking_uri=uri), console) if open_tasks else False
    return SweepResult(int(failed), folder, uri)


def run_open(sweep: SweepConfig, tasks: list[TrialTask], kept: list[TrialRow], options: RunOptions, console: Console) -> bool:
    """Run the trials that have not ended yet; whether one of them failed."""
    with ThreadPoolExecutor(1) as pool:
        tracker = pool.submit(MlflowTracker, str(options.tracking_uri), sweep.name)  # seconds, while Ray starts
        growing, useful = options.address is not None, max(2, len(tasks))
        with ray_session(options.address), worker_groups(options.storage, sweep.resources, growing, useful) as groups:
            claim(sweep, tasks[0].folder.parents[1], tasks)
            groups.begin([BaseStage(task.plan.config.sandbox) for task in tasks if task.inputs.model is None])
            record = SweepRecord(sweep, tasks, groups, kept)
            with LiveTable(console) as live, Recorder(record, tracker.result(), live):
                run_tune(sweep, tasks, groups, record.callback)
    return any(trial.status == "FAILED" for trial in record.trials)


@contextmanager
def ray_session(address: str | None) -> Iterator[None]:
    """Ray for the time of a command; one that was running already is left as it is."""
    ours = not ray.is_initialized()
    try:
        with signals.started(lambda: connect(address) if ours else None):
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
