"""The record of a sweep: what the desk's log comes to. Table, `summary.csv` and the tracker's backlog have this one writer.

It waits for nobody: what it tells the tracker stands in a backlog (`tracking/backlog.py`), and stops don't go through it.
"""

import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from raysafe.artifacts import write_text
from raysafe.config.trials import SweepConfig
from raysafe.evaluation.by_prompt import table_path
from raysafe.evaluation.metrics import flat_rates, rates_of
from raysafe.report.live import LiveTable
from raysafe.report.page import write_page
from raysafe.report.progress import write_progress
from raysafe.report.rankings import SweepRankings, read_rankings, write_rankings
from raysafe.report.summary import SUMMARY, TrialRow, read_summary, write_summary
from raysafe.report.table import BASE, rows_of_base
from raysafe.stages.readings import rows_read
from raysafe.stages.verdicts import table_from
from raysafe.sweep.costs import Costs
from raysafe.sweep.events import Event, JobChanged, JobState, JobWanted, PointTold, TrialEnded, TrialStarted
from raysafe.sweep.folder import TrialTask
from raysafe.sweep.judged import with_judged
from raysafe.sweep.pace import Pace
from raysafe.sweep.tracked import SweepEnd, TrackedRuns, extra
from raysafe.sweep.trial_record import TrialRecord
from raysafe.tracking.base import EndStatus

POLL_S = 0.3
WRITE_S = 1.0
"""How often `progress.json` is written at most."""
TRAIN = "train"
"""The label of the stage whose points are a trial's own; its other stages' results stand with its end."""
REFERENCE, UNTRAINED = "reference", "base readings"
"""Labels of what is known of the models that trials start from: scores, and what was read of them."""
COSTS_EVERY_S = 10.0
"""How often what has been paid is written down while no trial ends."""


class SweepRecord:
    """What is known of a sweep, event by event; `trials` holds every trial's part.

    kept: rows of trials that had ended before this run of the sweep; they stay in the summary.
    """

    def __init__(self, sweep: SweepConfig, tasks: Sequence[TrialTask], runs: TrackedRuns, kept: Sequence[TrialRow] = ()) -> None:
        self.sweep, self.runs = sweep, runs
        self.folder = tasks[0].folder.parents[1]
        self.kept = with_judged({row.trial: row for row in kept}, self.folder)
        self.tasks = {task.plan.name: task for task in tasks}
        self.by_name = {name: TrialRecord(task.plan, task.folder) for name, task in self.tasks.items()}
        self.base = {row.trial: row for row in rows_of_base(self.folder)}
        self.stages: dict[str, JobChanged] = {}
        self.costs = Costs(self.folder, runs.store, self.by_name)

    @property
    def trials(self) -> list[TrialRecord]:
        """In the sweep's order."""
        return list(self.by_name.values())

    def take(self, events: Sequence[Event]) -> None:
        """Take in what has happened. When a trial has ended the summary is written, after its end stands in the backlog."""
        for event in events:
            self._take(event)
        ended = any(isinstance(event, TrialEnded) for event in events)
        if events:
            self.costs.save(events[-1].at, 0.0 if ended else COSTS_EVERY_S)
        if ended:
            write_summary(self.folder / SUMMARY, self.rows())
            write_summary(self.folder / BASE, list(with_judged(self.base, self.folder).values()))

    def _take(self, event: Event) -> None:
        if isinstance(event, JobWanted):
            self.costs.wanted(event.trial, event.job, event.label, event.at)
        if isinstance(event, JobChanged):
            self.costs.changed(event)
            self._changed(event)
        elif isinstance(event, PointTold) and event.trial is None:
            self.runs.shared.point(event)
        elif isinstance(event, PointTold | JobWanted | TrialStarted | TrialEnded) and event.trial in self.by_name:
            self._of_trial(self.by_name[event.trial], event)

    def _changed(self, event: JobChanged) -> None:
        self.stages[event.job] = event
        if event.state is JobState.RUNNING:
            for name in event.trials:
                if name in self.by_name:
                    self.by_name[name].stage = event.label
        if event.shared:
            self.runs.shared.changed(event)

    def _of_trial(self, trial: TrialRecord, event: PointTold | JobWanted | TrialStarted | TrialEnded) -> None:
        if not trial.started:  # by whatever comes first: the trial itself may be faster than Tune's word of it
            trial.status, trial.started = "RUNNING", event.at
            self.runs.start_trial(trial, self.tasks[trial.plan.name].inputs, event.at)
        if isinstance(event, JobWanted):
            trial.jobs[event.label], trial.asked[event.job] = event.job, event.label
        elif isinstance(event, TrialEnded):
            self._ended(trial, event)
        elif isinstance(event, PointTold) and event.label == TRAIN:
            trial.note(event.step, event.metrics)
            self.runs.trial_point(trial, event)

    def _ended(self, trial: TrialRecord, event: TrialEnded) -> None:
        trial.status, trial.ended, trial.result, trial.error = event.status, event.at, event.result, event.error
        self.costs.ended(trial.plan.name, event.at)
        trial.costs = self.costs.figures(trial.plan.name)
        if trial.error:
            write_text(trial.folder / "error.txt", trial.error + "\n")
        self._note_base(trial)
        self.runs.end_trial(trial, event)

    def _note_base(self, trial: TrialRecord) -> None:
        """Keep the scores of the model that the trial started from."""
        job = trial.jobs.get(REFERENCE)
        if job is None or not self._is_done(job):
            return
        artifact = self.runs.store.by_id(job)
        name = f"base {artifact.key}"
        read = [self.runs.store.by_id(id) for id, label in trial.asked.items() if label == UNTRAINED and self._is_done(id)]
        if not table_path(self.folder, name).exists():
            with extra("What judges said of the base model, prompt by prompt,"):
                rows = [row for one in read for row in rows_read(one.folder)]
                table_from(artifact).with_rows(rows).save(table_path(self.folder, name))
        metrics = [one.result["metrics"] for one in (artifact, *read)]
        figures = {name: value for one in metrics for name, value in flat_rates(rates_of(one), with_n=True).items()}
        self.base[name] = replace(trial.row(), trial=name, status="FINISHED", swept={}, figures=figures, error="")

    def _is_done(self, job: str) -> bool:
        return job in self.stages and self.stages[job].state is JobState.DONE

    def rows(self) -> list[TrialRow]:
        """Lines of the trials that have ended, in the sweep's order."""
        ended = self.kept | {trial.plan.name: trial.row() for trial in self.trials if trial.ended}
        return [ended[plan.name] for plan in self.sweep.trials if plan.name in ended]

    def status(self) -> EndStatus:
        """How the sweep as a whole stands."""
        if any(not trial.ended for trial in self.trials):
            return "INTERRUPTED"
        return "FAILED" if any(trial.status == "FAILED" for trial in self.trials) else "FINISHED"


class Recorder:
    """Follows the desk's log in a thread of its own while Tune has the main one. `events` gives what has happened from an event's
    number on; `left` names the runs that have not ended when the sweep does; `live` and `progress.json` show its `pace`."""

    def __init__(
        self,
        record: SweepRecord,
        events: Callable[[int], Sequence[Event]],
        left: Callable[[], list[str]],
        pace: Pace,
        live: LiveTable,
    ) -> None:
        self.record, self.events, self.left, self.pace, self.live = record, events, left, pace, live
        self._seen, self._written = 0, 0.0
        self._over = threading.Event()
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Recorder":
        self._thread.start()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._over.set()
        self._thread.join()
        if kind is None and self._problem is not None:
            raise self._problem

    def _watch(self) -> None:
        try:
            self._record()
        except BaseException as problem:  # handed to the main thread, which is in Tune now
            self._problem = problem

    def _record(self) -> None:
        record, runs, sweep = self.record, self.record.runs, self.record.sweep
        runs.start_sweep(sweep, record.folder)
        while not self._over.is_set():
            self._step()
            self._over.wait(POLL_S)
        self._step(last=True)
        status = record.status()
        if status != "INTERRUPTED":
            report(record.folder, runs, record.trials)
        runs.end_sweep(sweep, SweepEnd(status, record.folder, record.rows(), record.costs.used()), self.left())

    def _step(self, last: bool = False) -> None:
        events = self.events(self._seen)
        self.record.take(events)
        self.pace.take(events)
        self._seen += len(events)
        progress = self.pace.progress(self.record.trials, self.record.kept.values())
        self.live.update(progress)
        if last or time.monotonic() - self._written > WRITE_S:
            self._written = time.monotonic()
            write_progress(self.record.folder, progress, time.time())


def compared(folder: Path) -> tuple[dict[str, Path], SweepRankings | None]:
    """Compare the rankings of a finished sweep: the picture of each trial's, and themselves."""
    try:
        rankings = read_rankings(folder)
        return dict(write_rankings(rankings)), rankings
    except Exception as problem:  # an extra, which must not cost the record of a finished sweep
        warnings.warn(f"The rankings could not be compared ({problem}); `raysafe report` tries it again.", stacklevel=2)
        return {}, None


def write_report(folder: Path, rankings: SweepRankings | None) -> None:
    """`report.html` of a sweep that has ended, as `raysafe report` makes it."""
    try:
        write_page(folder, rankings)
    except Exception as problem:  # like the comparison
        warnings.warn(f"The report could not be written ({problem}); `raysafe report` tries it again.", stacklevel=2)


def report(folder: Path, runs: TrackedRuns, trials: Sequence[TrialRecord]) -> None:
    """What a sweep that has ended leaves beside its numbers: its rankings compared, and the page. `trials`: of this run of it."""
    pictures, rankings = compared(folder)
    runs.rankings(folder, trials, pictures)
    write_report(folder, rankings)
    runs.agreement(folder)


def finish(sweep: SweepConfig, folder: Path, runs: TrackedRuns, left: Callable[[], list[str]]) -> None:
    """End the record of a sweep whose driver was killed after its last trial."""
    runs.start_sweep(sweep, folder)
    report(folder, runs, ())
    used = Costs(folder, runs.store, ()).used()
    runs.end_sweep(sweep, SweepEnd("FINISHED", folder, read_summary(folder / SUMMARY), used), left())
