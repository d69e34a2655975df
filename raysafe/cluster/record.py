"""Who keeps the record of a sweep: one thread on the driver that watches the desk and Tune, and writes everything.

Table, `summary.csv` and tracker have this one writer. It reads the desk's own log of events, so nothing is lost between
Tune's snapshots.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import ray
import yaml
from ray.tune import Callback

from raysafe.artifacts import Store, plain, write_text
from raysafe.cluster.desk import Event, JobState
from raysafe.cluster.groups import Groups
from raysafe.cluster.tuning import TrialTask
from raysafe.config import SweepConfig, TrialPlan
from raysafe.report.live import LiveTable, TrialState
from raysafe.report.summary import TrialRow, write_summary
from raysafe.stages import History
from raysafe.tracking.base import DatasetSpec, EndStatus, RunSpec, Tracker

POLL_S = 0.3
PENDING, RUNNING = "PENDING", "RUNNING"
FINISHED: EndStatus = "FINISHED"
STOPPED: EndStatus = "STOPPED"
FAILED: EndStatus = "FAILED"


class TuneCallback(Callback):
    """Passes on when Tune starts and ends a trial; the recording thread does the rest."""

    def __init__(self, told: "SimpleQueue[tuple[str, int]]") -> None:
        self.told = told

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune's hook."""
        self.told.put(("start", trial.config["index"]))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune's hook: the end of a trial, early or not."""
        self.told.put(("complete", trial.config["index"]))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune's hook."""
        self.told.put(("error", trial.config["index"]))


@dataclass
class TrialRecord:
    """What is known of one trial so far. `run` is the tracker's run."""

    plan: TrialPlan
    folder: Path
    status: str = PENDING
    run: str = ""
    stage: str = ""
    epoch: int = 0
    started: float = 0.0
    ended: float = 0.0
    last: dict[str, float] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    seen_rows: bool = False

    @property
    def seconds(self) -> float:
        """Wall time so far."""
        return (self.ended or time.time()) - self.started if self.started else 0.0


class SweepRecord:
    """Use as a context manager around `run_tune`; afterwards `trials` holds how every trial ended."""

    def __init__(self, sweep: SweepConfig, tasks: Sequence[TrialTask], groups: Groups, tracker: Tracker, live: LiveTable) -> None:
        self.sweep, self.groups, self.tracker, self.live = sweep, groups, tracker, live
        self.folder = tasks[0].folder.parent.parent
        self.tasks = list(tasks)
        self.trials = [TrialRecord(task.plan, task.folder) for task in tasks]
        self.told: SimpleQueue[tuple[str, int]] = SimpleQueue()
        self.callback = TuneCallback(self.told)
        self.stage_runs: dict[str, str] = {}
        self.stages: dict[str, Event] = {}
        self.parent = ""
        self._seen = 0
        self._over = threading.Event()
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "SweepRecord":
        self._thread.start()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._over.set()
        self._thread.join()
        if kind is None and self._problem is not None:
            raise self._problem

    def _watch(self) -> None:
        try:
            self._start_parent()
            while not self._over.is_set():
                self._poll()
                self._over.wait(POLL_S)
            self._poll()
            self._end_parent()
        except BaseException as problem:  # handed to the main thread, which is in Tune now
            self._problem = problem

    def _start_parent(self) -> None:
        name, tags = self.sweep.name, {"raysafe.question": self.sweep.question}
        self.parent = self.tracker.start(RunSpec("sweep", name, name, params={"trials": len(self.trials)}, tags=tags))
        self.tracker.artifact(self.parent, self.folder / "sweep.yaml")

    def _end_parent(self) -> None:
        open_trials = [trial for trial in self.trials if trial.status in (PENDING, RUNNING)]
        for trial in open_trials:
            if trial.run:
                self.tracker.end(trial.run, "INTERRUPTED")
        self.tracker.artifact(self.parent, self.folder / "summary.csv")
        failed = any(trial.status == FAILED for trial in self.trials)
        self.tracker.end(self.parent, "INTERRUPTED" if open_trials else "FAILED" if failed else "FINISHED")

    def _poll(self) -> None:
        changed = False
        for event in ray.get(self.groups.desk.events.remote(self._seen)):
            self._seen += 1
            self._on_event(event)
        while True:
            try:
                what, index = self.told.get_nowait()
            except Empty:
                break
            changed |= self._on_tune(what, self.trials[index])
        if changed:
            write_summary(self.folder / "summary.csv", [trial_row(trial) for trial in self.trials if trial.ended])
        self.live.update([trial_state(trial) for trial in self.trials], self._stages_line())

    def _on_tune(self, what: str, trial: TrialRecord) -> bool:
        if what == "start":
            if not trial.started:
                trial.status, trial.started = RUNNING, time.time()
                self._start_trial(trial)
            return False
        ray.get(self.groups.desk.halt.remote(trial.plan.name))
        trial.result = ray.get(self.groups.desk.result.remote(trial.plan.name)) or {}
        trial.ended = time.time()
        trial.error = trial.result.get("error", "")
        if what == "error" or trial.error:
            trial.status = FAILED
            trial.error = trial.error or "the trial's driver failed; see the sweep's `ray` folder"
            write_text(trial.folder / "error.txt", trial.error + "\n")
        else:
            trial.status = FINISHED if "metrics" in trial.result else STOPPED
        self._end_trial(trial)
        return True

    def _start_trial(self, trial: TrialRecord) -> None:
        config = trial.plan.config
        params, name = {**dotted(plain(config)), **trial.plan.swept}, trial.plan.name
        trial.run = self.tracker.start(RunSpec("trial", name, name, self.parent, params))
        text = yaml.safe_dump(plain(config), sort_keys=False)
        write_text(trial.folder / "config.yaml", text)
        self.tracker.artifact(trial.run, trial.folder / "config.yaml")
        inputs = self.tasks[self.trials.index(trial)].inputs
        for role, data in inputs.data().items():
            self.tracker.dataset(trial.run, DatasetSpec(role, data.path, data.fingerprint, role))

    def _end_trial(self, trial: TrialRecord) -> None:
        for label, shared, kind, key in trial.result.get("used", []):
            self._backfill(trial, label, shared, kind, key)
        if "metrics" in trial.result:
            final = {f"eval/{name}": value for name, value in flat_metrics(trial.result["metrics"]).items()}
            final |= {"selected_rows": float(trial.result["selected_rows"])}
            if trial.result["unsafe_selected"] is not None:
                final["unsafe_selected"] = trial.result["unsafe_selected"]
            self.tracker.log(trial.run, int(trial.last.get("step", 0)) + 1, final)
        selection = trial.folder / "selection.parquet"
        if selection.exists():
            self.tracker.artifact(trial.run, selection)
        self.tracker.end(trial.run, trial.status, trial.error)

    def _backfill(self, trial: TrialRecord, label: str, shared: bool, kind: str, key: str) -> None:
        """Rows of stages that were there before this sweep began (or went on) are told from their artifacts."""
        artifact = Store(self.groups.store.root.parent).artifact(kind, key)
        job = f"{kind}-{key}"
        if shared and job not in self.stage_runs:
            run = self._stage_run(job, label, reused=True)
        elif not shared and label == "train" and not trial.seen_rows:
            run = trial.run
        else:
            return
        for step, metrics in History.of(artifact):
            self.tracker.log(run, step, metrics)
            if not shared:
                trial.epoch = int(metrics.get("epoch", trial.epoch))
                trial.last = {"step": step, **metrics}
        if shared:
            self._end_stage(run, artifact.folder)

    def _on_event(self, event: Event) -> None:
        wanting = [trial for trial in self.trials if trial.plan.name in event.trials]
        self.stages[event.job] = event
        if event.step is not None and event.metrics is not None:
            self._on_row(event, wanting)
            return
        for trial in wanting:
            trial.stage = event.label
        if event.shared and event.state is JobState.RUNNING and event.job not in self.stage_runs:
            self._stage_run(event.job, event.label)
        if event.shared and event.state.ended and event.job in self.stage_runs:
            kind, _, key = event.job.rpartition("-")
            if event.state is JobState.DONE:
                self._end_stage(self.stage_runs[event.job], self.groups.store.artifact(kind, key).folder)
            else:
                self.tracker.end(self.stage_runs[event.job], "FAILED" if event.state is JobState.FAILED else "STOPPED")

    def _on_row(self, event: Event, wanting: Sequence[TrialRecord]) -> None:
        assert event.step is not None and event.metrics is not None
        if event.shared:
            if event.job in self.stage_runs:
                self.tracker.log(self.stage_runs[event.job], event.step, event.metrics)
            return
        for trial in wanting:
            if not trial.run:
                continue
            self.tracker.log(trial.run, event.step, {k: v for k, v in event.metrics.items() if k != "epoch"} | _epoch(event))
            if event.label == "train":
                trial.seen_rows = True
                trial.epoch = int(event.metrics.get("epoch", trial.epoch))
                trial.last = {"step": event.step, **event.metrics}

    def _stage_run(self, job: str, label: str, reused: bool = False) -> str:
        key = job.rpartition("-")[2]
        tags = {"raysafe.reused": "true"} if reused else {}
        spec = RunSpec("stage", key, f"{label} {key[:8]}", self.parent, tags=tags, stage=label)
        self.stage_runs[job] = self.tracker.start(spec)
        return self.stage_runs[job]

    def _end_stage(self, run: str, folder: Path) -> None:
        for name in ("manifest.json", "ranking.parquet", "scores.json"):
            if (folder / name).exists():
                self.tracker.artifact(run, folder / name)
        self.tracker.end(run, "FINISHED")

    def _stages_line(self) -> str:
        shared = [event for event in self.stages.values() if event.shared]
        running = [event.label for event in shared if event.state is JobState.RUNNING]
        made = sum(event.state is JobState.DONE for event in shared)
        return f"shared stages: {made} made" + (f", running: {', '.join(running)}" if running else "")


def _epoch(event: Event) -> dict[str, float]:
    return {"epoch": event.metrics["epoch"]} if event.metrics and "epoch" in event.metrics else {}


def dotted(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested plain values as dotted keys; lists stay values."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {k: v for name, item in value.items() for k, v in dotted(item, f"{prefix}.{name}" if prefix else str(name)).items()}


def flat_metrics(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """name, name_low, name_high of plain rates."""
    return {
        f"{name}{suffix}": rate[key]
        for name, rate in metrics.items()
        for key, suffix in (("value", ""), ("low", "_low"), ("high", "_high"))
    }


def current_metrics(trial: TrialRecord) -> dict[str, float]:
    """The final scores, or the last ones after an epoch for a trial that was stopped or still runs."""
    if "metrics" in trial.result:
        return flat_metrics(trial.result["metrics"])
    return {name.removeprefix("eval/"): value for name, value in trial.last.items() if name.startswith("eval/")}


def trial_row(trial: TrialRecord) -> TrialRow:
    """The trial's line of `summary.csv`."""
    return TrialRow(
        trial=trial.plan.name,
        status=trial.status,
        seed=trial.plan.config.seed,
        swept=dict(trial.plan.swept),
        metrics=current_metrics(trial),
        selected_rows=trial.result.get("selected_rows"),
        unsafe_selected=trial.result.get("unsafe_selected"),
        epochs=trial.epoch,
        wall_s=round(trial.seconds, 2),
        error=trial.error.splitlines()[0] if trial.error else "",
    )


def trial_state(trial: TrialRecord) -> TrialState:
    """The trial's line of the live table."""
    metrics = current_metrics(trial)
    return TrialState(
        name=trial.plan.name,
        status=trial.status,
        stage=trial.stage if trial.status == RUNNING else "",
        epoch=trial.epoch,
        epochs=trial.plan.config.training.epochs,
        win_rate=metrics.get("win_rate"),
        safety_score=metrics.get("safety_score"),
        seconds=trial.seconds,
        note=trial.error.splitlines()[0] if trial.error else "",
    )


