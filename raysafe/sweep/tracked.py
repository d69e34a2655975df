"""The sweep's runs in the tracker: a parent, one run a trial, one a shared stage; rows as they come, and backfilled."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from raysafe.artifacts import Store, plain, write_text
from raysafe.ranking.diagnosis import DIAGNOSIS_FILE, Diagnosis
from raysafe.report.figures import tracked
from raysafe.report.rankings import FOLDER as RANKINGS
from raysafe.report.rankings import dotted
from raysafe.report.summary import SUMMARY
from raysafe.stages.inputs import TrialInputs
from raysafe.stages.making import History
from raysafe.sweep.desk import Event, JobState
from raysafe.sweep.trial_record import TrialRecord, UsedStage
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
        if (folder / RANKINGS).exists():
            self.tracker.artifact(self.parent, folder / RANKINGS, RANKINGS)
        self.tracker.end(self.parent, status)

    def rankings(self, trials: Iterable[TrialRecord], pictures: Mapping[str, Path]) -> None:
        """Keep each ranking's picture, given by trial, in the run of the stage that made it."""
        made = {id: pictures[trial.plan.name] for trial in trials for id in self._rank_runs(trial) if trial.plan.name in pictures}
        for id, picture in made.items():
            self.tracker.artifact(self.stages[id], picture)

    def _rank_runs(self, trial: TrialRecord) -> list[str]:
        if trial.plan.config.selection.file is not None:
            return []  # what was selected by is not what the stage made
        ids = [self.store.artifact(stage.kind, stage.key).id for stage in trial.end.used if stage.kind == "rank"]
        return [id for id in ids if id in self.stages]

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
        for stage in trial.end.used:
            self._backfill(trial, stage)
        if trial.end.result is not None:
            self.tracker.log(trial.run, trial.step, tracked(trial.figures()))
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

    def _backfill(self, trial: TrialRecord, stage: UsedStage) -> None:
        artifact, label = self.store.artifact(stage.kind, stage.key), stage.label
        if stage.shared and artifact.id not in self.stages:
            run = self._stage(artifact.id, label, reused=True)
            for step, metrics in History.of(artifact):
                self.tracker.log(run, step, named(metrics, label))
            self._end_stage(artifact.id, label)
        elif label == "train" and not stage.shared and not trial.last:
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
        artifact = self.store.by_id(job)
        folder = artifact.folder
        if (folder / DIAGNOSIS_FILE).exists():  # at the last step, where a trained selector has its last row
            step = max((step for step, _ in History.of(artifact)), default=0)
            self.tracker.log(self._stage(job, label), step, Diagnosis.load(folder / DIAGNOSIS_FILE).metrics())
        for name in ("manifest.json", "ranking.parquet", DIAGNOSIS_FILE, "scores.json"):
            if (folder / name).exists():
                self.tracker.artifact(self._stage(job, label), folder / name)
        self.tracker.end(self._stage(job, label), "FINISHED")


def named(metrics: Mapping[str, float], label: str) -> dict[str, float]:
    """Metrics under `LABEL/...` where they bring no such name themselves, so that MLflow groups them."""
    return {name if "/" in name else f"{label}/{name}": value for name, value in metrics.items()}
