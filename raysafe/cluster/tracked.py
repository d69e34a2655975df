"""The sweep's runs in the tracker: a parent, one run a trial, one a shared stage; rows as they come, and backfilled."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from raysafe.artifacts import Store, plain, write_text
from raysafe.cluster.desk import Event, JobState
from raysafe.cluster.trial_record import TrialRecord
from raysafe.inputs import TrialInputs
from raysafe.making import History
from raysafe.report.summary import SUMMARY
from raysafe.tracking.base import DatasetSpec, EndStatus, RunSpec, Tracker


@dataclass
class TrackedRuns:
    """`stages`: job id to the run of a shared stage."""

    tracker: Tracker
    store: Store
    parent: str = ""
    stages: dict[str, str] = field(default_factory=dict)

    def start_sweep(self, name: str, question: str, trials: int, folder: Path) -> None:
        """The parent of all runs."""
        self.parent = self.tracker.start(
            RunSpec("sweep", name, name, params={"trials": trials}, tags={"raysafe.question": question})
        )
        self.tracker.artifact(self.parent, folder / "sweep.yaml")

    def end_sweep(self, status: EndStatus, folder: Path) -> None:
        """End the parent, with the summary in it."""
        if (folder / SUMMARY).exists():
            self.tracker.artifact(self.parent, folder / SUMMARY)
        self.tracker.end(self.parent, status)

    def start_trial(self, trial: TrialRecord, inputs: TrialInputs) -> None:
        """The trial's run, with its settings, its configuration and what it reads."""
        config, name = trial.plan.config, trial.plan.name
        params = {**dotted(plain(config)), **trial.plan.swept}
        trial.run = self.tracker.start(RunSpec("trial", name, name, self.parent, params))
        write_text(trial.folder / "config.yaml", yaml.safe_dump(plain(config), sort_keys=False))
        self.tracker.artifact(trial.run, trial.folder / "config.yaml")
        for role, data in inputs.data().items():
            self.tracker.dataset(trial.run, DatasetSpec(role, data.path, data.fingerprint, role))

    def end_trial(self, trial: TrialRecord, status: EndStatus) -> None:
        """Final scores, what was selected, and rows that nobody saw because their stages were there already."""
        for label, shared, kind, key in trial.result.get("used", []):
            self._backfill(trial, label, shared, kind, key)
        if "metrics" in trial.result:
            final = {f"eval/{name}": value for name, value in trial.metrics().items()}
            names = ("selected_rows", "safeinstr_rows", "unsafe_selected", "ranking_auc")
            counts = {name: trial.result.get(name) for name in names}
            final |= {name: float(value) for name, value in counts.items() if value is not None}
            self.tracker.log(trial.run, trial.step, final)
        for name in ("selection.parquet", "safeinstr.parquet"):
            if (trial.folder / name).exists():
                self.tracker.artifact(trial.run, trial.folder / name)
        self.tracker.end(trial.run, status, trial.error)

    def trial_row(self, trial: TrialRecord, label: str, step: int, metrics: Mapping[str, float]) -> None:
        """A row of a trial's own stage. The final evaluation counts as the last training step."""
        if label == "train":
            trial.note(step, metrics)
        if trial.run:
            self.tracker.log(trial.run, step if label == "train" else trial.step, named(metrics, "train"))

    def stage_event(self, event: Event) -> None:
        """A shared stage began, told a row, or ended."""
        if event.step is not None and event.metrics is not None:
            self.tracker.log(self._stage(event.job, event.label), event.step, named(event.metrics, event.label))
        elif event.state is JobState.RUNNING:
            self._stage(event.job, event.label)
        elif event.state is JobState.DONE:
            self._end_stage(event.job, event.label)
        elif event.job in self.stages:
            status: EndStatus = "FAILED" if event.state is JobState.FAILED else "STOPPED"
            self.tracker.end(self.stages[event.job], status, event.error)

    def _backfill(self, trial: TrialRecord, label: str, shared: bool, kind: str, key: str) -> None:
        artifact = self.store.artifact(kind, key)
        if shared and artifact.id not in self.stages:
            run = self._stage(artifact.id, label, reused=True)
            for step, metrics in History.of(artifact):
                self.tracker.log(run, step, named(metrics, label))
            self._end_stage(artifact.id, label)
        elif label == "train" and not shared and not trial.last:
            for step, metrics in History.of(artifact):
                self.trial_row(trial, label, step, metrics)

    def _stage(self, job: str, label: str, reused: bool = False) -> str:
        if job not in self.stages:
            key, tags = self.store.by_id(job).key, {"raysafe.reused": "true"} if reused else {}
            self.stages[job] = self.tracker.start(
                RunSpec("stage", key, f"{label} {key[:8]}", self.parent, tags=tags, stage=label)
            )
        return self.stages[job]

    def _end_stage(self, job: str, label: str) -> None:
        folder = self.store.by_id(job).folder
        for name in ("manifest.json", "ranking.parquet", "scores.json"):
            if (folder / name).exists():
                self.tracker.artifact(self._stage(job, label), folder / name)
        self.tracker.end(self._stage(job, label), "FINISHED")


def named(metrics: Mapping[str, float], label: str) -> dict[str, float]:
    """Metrics under `LABEL/...` where they bring no such name themselves, so that MLflow groups them."""
    return {name if "/" in name else f"{label}/{name}": value for name, value in metrics.items()}


def dotted(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested plain values as dotted keys; lists stay values."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {k: v for name, item in value.items() for k, v in dotted(item, f"{prefix}.{name}" if prefix else str(name)).items()}
