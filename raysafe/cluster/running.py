"""`run_sweep`: from a checked configuration to finished trials, and what the other commands need of the cluster."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import ray
from rich.console import Console

from raysafe.artifacts import Store
from raysafe.cluster.groups import Groups, connect, still_at_work, worker_groups
from raysafe.cluster.tuning import run_tune
from raysafe.config.trials import SweepConfig
from raysafe.report.live import LiveTable
from raysafe.report.summary import TrialRow
from raysafe.stages.inputs import find_inputs
from raysafe.stages.starting import base_stage
from raysafe.sweep import signals
from raysafe.sweep.bills import bill_lines
from raysafe.sweep.folder import TrialTask, claim, ended_before, refuse_taken, tasks_of
from raysafe.sweep.lock import held
from raysafe.sweep.pace import Pace
from raysafe.sweep.places import STORAGE
from raysafe.sweep.record import Recorder, SweepRecord, finish
from raysafe.sweep.tracked import TrackedRuns
from raysafe.sweep.written import changes
from raysafe.tracking.backlog import PATIENCE_S, Backlog, Teller
from raysafe.tracking.base import without_password
from raysafe.tracking.memory import MemoryTracker
from raysafe.tracking.mlflow import MlflowTracker, check_uri, store_uri

FIRST_WORD_S = 10.0
"""How long a sweep's start waits to hear from its tracker; one that says nothing is told later."""
INTERRUPTED_PATIENCE_S = 10.0


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


def run_sweep(sweep: SweepConfig, options: RunOptions | None = None, live: LiveTable | None = None) -> SweepResult:
    """Run all trials of a sweep, in parallel as the cluster allows. `live`: where it is told how things stand.

    Raises ConfigError or DataError before anything starts; a trial that fails ends as FAILED in `summary.csv`.
    """
    options, live = options or RunOptions(), live or LiveTable(Console(stderr=True))
    folder = options.storage.absolute() / sweep.name
    uri = options.tracking_uri or store_uri(options.storage.absolute())
    check_uri(uri)
    with held(folder):
        refuse_taken(sweep, folder, options.resume)
        live.step(f"checking models and data of {len(sweep.trials)} trials")
        tasks = tasks_of(sweep, folder, Store(options.storage), live.step)
        for change in changes(sweep.written, [task.inputs for task in tasks]):
            live.step(f"since this file was written: {change}")
        kept = ended_before(folder) if options.resume else []
        open_tasks = [task for task in tasks if task.plan.name not in {row.trial for row in kept}]
        for line in bill_lines([(task.plan.config, task.inputs) for task in open_tasks]):
            live.step(line)
        options = replace(options, tracking_uri=uri)
        if open_tasks:
            failed = run_open(sweep, open_tasks, kept, options, live)
        else:
            failed = catch_up(sweep, folder, options, live.console)
    return SweepResult(int(failed), folder, uri)


def run_open(sweep: SweepConfig, tasks: list[TrialTask], kept: list[TrialRow], options: RunOptions, live: LiveTable) -> bool:
    """Run the trials that have not ended yet; whether one of them failed."""
    folder, growing, useful = tasks[0].folder.parents[1], options.address is not None, max(2, len(tasks))
    backlog = Backlog(folder)
    with (
        telling(backlog, sweep.name, str(options.tracking_uri), live.console) as teller,
        ray_session(options.address, live),
        worker_groups(options.storage, sweep.resources, growing, useful) as groups,
    ):
        live.step(f"asking for {groups.count} groups of workers, opening the record at {options.tracking_uri}")
        teller.first_word(FIRST_WORD_S)
        claim(sweep, folder, tasks)
        bases = [base_stage(task.plan.config, task.inputs) for task in tasks]
        groups.begin([stage for stage in bases if stage is not None])
        record = SweepRecord(sweep, tasks, TrackedRuns(backlog, groups.store, sweep.logs_text), kept)
        pace = Pace({task.plan.name: task.plan.config for task in tasks}, groups.store, groups, time.time() - live.elapsed)
        with live, Recorder(record, groups.events, lambda: list(backlog.open), pace, live):
            run_tune(sweep, tasks, groups)
    return any(trial.status == "FAILED" for trial in record.trials)


def catch_up(sweep: SweepConfig, folder: Path, options: RunOptions, console: Console) -> bool:
    """All trials have ended: tell the tracker what it has not been told yet, if anything. No trial has failed here."""
    backlog = Backlog(folder)
    if backlog.open:
        finish(sweep, folder, TrackedRuns(backlog, Store(options.storage), sweep.logs_text), lambda: list(backlog.open))
    if Teller(backlog, str(options.tracking_uri), MemoryTracker).missing:
        with telling(backlog, sweep.name, str(options.tracking_uri), console):
            pass
    return False


@contextmanager
def telling(backlog: Backlog, name: str, uri: str, console: Console) -> Iterator[Teller]:
    """A thread that tells MLflow what the backlog holds. On the way out it gets time to finish, and what is missing is said."""
    teller = Teller(backlog, uri, lambda: MlflowTracker(uri, name))
    teller.begin()
    try:
        yield teller
    except BaseException:
        teller.drain(INTERRUPTED_PATIENCE_S)
        raise
    if not teller.drain(PATIENCE_S):
        where = "" if uri == store_uri(backlog.path.parents[1]) else f" --tracking-uri {without_password(uri)}"
        why = f"`raysafe report {backlog.path.parent} --sync{where}` tells them. {teller.problem or ''}"
        missing = f"{teller.missing} of {len(backlog.entries)} entries of their record are not in MLflow yet"
        said = f"The trials are done, but {missing}; they are kept in {backlog.path}. {why}"
        console.print(said, style="yellow", highlight=False, markup=False, soft_wrap=True)
    for refused in teller.refused[:3]:
        console.print(f"MLflow refused an entry of the record: {refused}", style="yellow", highlight=False, markup=False)


@contextmanager
def ray_session(address: str | None, live: LiveTable) -> Iterator[None]:
    """Ray for the time of a command; one that was running already is left as it is."""
    ours = not ray.is_initialized()
    if ours:
        live.step(f"joining the Ray cluster at {address}" if address else "starting Ray")
    try:
        with signals.started(lambda: connect(address) if ours else None):
            yield
    finally:
        if ours and not still_at_work():
            ray.shutdown()


@contextmanager
def one_trial(
    name: str, sweep: SweepConfig, options: RunOptions, live: LiveTable | None = None
) -> Iterator[tuple[Groups, TrialTask]]:
    """One group of workers for the first trial without a sweep: its task, called `name`, and the groups to launch stages on."""
    store, plan = Store(options.storage), replace(sweep.trials[0], name=name)
    one_group, live = replace(sweep.resources, groups=1), live or LiveTable(Console(stderr=True))
    task = TrialTask(plan, find_inputs(plan.config, store, live.step), options.storage.absolute() / "single" / name)
    with (
        ray_session(options.address, live),
        worker_groups(options.storage, one_group, options.address is not None) as groups,
    ):
        live.step("waiting for workers")
        yield groups, task
