"""Who keeps the record of a sweep: one thread on the driver that watches the desk and Tune, and writes everything.

Table, `summary.csv` and tracker have this one writer. It reads the desk's own log of events, so nothing is lost between
Tune's snapshots.
"""

import threading
import time
import warnings
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Any

import ray
from ray.tune.progress_reporter import TrialProgressCallback

from raysafe.artifacts import write_text
from raysafe.cluster.groups import Groups
from raysafe.config.trials import SweepConfig
from raysafe.evaluation.metrics import flat_rates, rates_of
from raysafe.report.live import LiveTable
from raysafe.report.rankings import read_rankings, write_rankings
from raysafe.report.summary import SUMMARY, TrialRow, write_summary
from raysafe.report.table import BASE, base_rows
from raysafe.sweep import signals
from raysafe.sweep.desk import Event, JobState
from raysafe.sweep.folder import TrialTask
from raysafe.sweep.tracked import TrackedRuns
from raysafe.sweep.trial_record import TrialEnd, TrialRecord
from raysafe.tracking.base import EndStatus, Tracker

POLL_S = 0.3
_ENDS: dict[str, EndStatus] = {"FINISHED": "FINISHED", "STOPPED": "STOPPED", "FAILED": "FAILED"}


class TuneCallback(TrialProgressCallback):
    """Passes on when Tune starts and ends a trial; the recording thread does the rest.

    It takes the place of Tune's own progress callback, which would print into the live table.
    """

    def __init__(self, told: "SimpleQueue[tuple[str, int]]") -> None:
        super().__init__()
        self.told = told

    def __getstate__(self) -> dict[str, Any]:
        """Tune writes its callbacks into a snapshot that nobody restores; a queue can't go there."""
        return {"told": None}

    def setup(self, *arguments: Any, **options: Any) -> None:
        """Tune's hook: nothing to set up."""

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune's hook, some times a second."""
        signals.check()

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
        """Tune's hook: rows reach the record by the desk."""

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune's hook."""
        self.told.put(("start", trial.config["index"]))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune's hook: the end of a trial, early or not."""
        self.told.put(("complete", trial.config["index"]))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune's hook."""
        self.told.put(("error", trial.config["index"]))


class SweepRecord:
    """Use as a context manager around `run_tune`; afterwards `trials` holds how every trial ended.

    kept: rows of trials that had ended before this run of the sweep; they stay in the summary.
    """

    def __init__(self, sweep: SweepConfig, tasks: Sequence[TrialTask], groups: Groups, kept: Sequence[TrialRow] = ()) -> None:
        self.sweep, self.groups, self.tasks = sweep, groups, list(tasks)
        self.kept = {row.trial: row for row in kept}
        self.folder = self.tasks[0].folder.parent.parent
        self.trials = [TrialRecord(task.plan, task.folder) for task in tasks]
        self.told: SimpleQueue[tuple[str, int]] = SimpleQueue()
        self.callback = TuneCallback(self.told)
        self._by_name = {trial.plan.name: trial for trial in self.trials}
        self.base = {row.trial: row for row in base_rows(self.folder)}
        self._stages: dict[str, Event] = {}
        self._seen = 0

    def poll(self, runs: TrackedRuns) -> None:
        """Take in all that has happened since the last call."""
        for event in ray.get(self.groups.desk.events.remote(self._seen)):
            self._seen += 1
            self._on_event(event, runs)
        changed = False
        while (told := self._next_told()) is not None:
            changed |= self._on_tune(*told, runs)
        if changed:
            write_summary(self.folder / SUMMARY, self.rows())
            write_summary(self.folder / BASE, list(self.base.values()))

    def _next_told(self) -> tuple[str, int] | None:
        try:
            return self.told.get_nowait()
        except Empty:
            return None

    def rows(self) -> list[TrialRow]:
        """Lines of the trials that have ended, in the sweep's order."""
        ended = self.kept | {trial.plan.name: trial.row() for trial in self.trials if trial.ended}
        return [ended[plan.name] for plan in self.sweep.trials if plan.name in ended]

    def status(self) -> EndStatus:
        """How the sweep as a whole stands."""
        if any(not trial.ended for trial in self.trials):
            return "INTERRUPTED"
        return "FAILED" if any(trial.status == "FAILED" for trial in self.trials) else "FINISHED"

    def stages_line(self) -> str:
        """Shared stages made and running."""
        shared = [event for event in self._stages.values() if event.shared]
        running = [event.label for event in shared if event.state is JobState.RUNNING]
        made = sum(event.state is JobState.DONE for event in shared)
        return f"shared stages: {made} made" + (f", running: {', '.join(running)}" if running else "")

    def _on_event(self, event: Event, runs: TrackedRuns) -> None:
        self._stages[event.job] = event
        wanting = [self._by_name[name] for name in event.trials if name in self._by_name]
        for trial in wanting:
            if event.state is JobState.RUNNING:
                trial.stage = event.label
            if not event.shared and event.step is not None and event.metrics is not None:
                runs.trial_row(trial, event.label, event.step, event.metrics)
        if event.shared:
            runs.stage_event(event)

    def _on_tune(self, what: str, index: int, runs: TrackedRuns) -> bool:
        trial = self.trials[index]
        if what == "start":
            if not trial.started:
                trial.status, trial.started = "RUNNING", time.time()
                runs.start_trial(trial, self.tasks[index].inputs)
            return False
        ray.get(self.groups.desk.halt.remote(trial.plan.name))
        trial.end = ray.get(self.groups.desk.end_of.remote(trial.plan.name)) or TrialEnd()
        trial.ended = time.time()
        trial.error = trial.end.error
        if what == "error" or trial.error:
            trial.status = "FAILED"
            trial.error = trial.error or f"the trial's driver failed; see {self.folder.parent / 'ray'}"
            write_text(trial.folder / "error.txt", trial.error + "\n")
        else:
            trial.status = "FINISHED" if trial.end.result is not None else "STOPPED"
        self._note_base(trial)
        runs.end_trial(trial, _ENDS[trial.status])
        return True

    def _note_base(self, trial: TrialRecord) -> None:
        """Keep the scores of the model that the trial started from."""
        for stage in trial.end.used:
            if stage.label == "reference":
                rates = rates_of(self.groups.store.artifact(stage.kind, stage.key).result["metrics"])
                name = f"base {stage.key}"
                self.base[name] = TrialRow(name, "FINISHED", trial.plan.config.seed, figures=flat_rates(rates, with_n=True))


class Recorder:
    """Runs a record's `poll` in a thread of its own while Tune has the main one."""

    def __init__(self, record: SweepRecord, tracker: Tracker, live: LiveTable) -> None:
        self.record, self.live = record, live
        self.runs = TrackedRuns(tracker, record.groups.store)
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
        record, runs = self.record, self.runs
        runs.start_sweep(record.sweep.name, record.sweep.question, len(record.sweep.trials), record.folder)
        while not self._over.is_set():
            self._step()
            self._over.wait(POLL_S)
        self._step()
        for trial in record.trials:
            if trial.run and not trial.ended:
                runs.tracker.end(trial.run, "INTERRUPTED")
        if record.status() != "INTERRUPTED":
            self._compare_rankings()
        runs.end_sweep(record.status(), record.folder)

    def _compare_rankings(self) -> None:
        try:
            self.runs.rankings(self.record.trials, write_rankings(read_rankings(self.record.folder)))
        except Exception as problem:  # an extra, which must not cost the record of a finished sweep
            warnings.warn(f"The rankings could not be compared ({problem}); `raysafe report` tries it again.", stacklevel=2)

    def _step(self) -> None:
        self.record.poll(self.runs)
        self.live.update([trial.state() for trial in self.record.trials], self.record.stages_line())
