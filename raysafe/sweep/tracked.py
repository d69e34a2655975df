"""The sweep's runs in the tracker: a parent, one run a trial, one a shared stage; points as they come."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from raysafe.artifacts import Artifacts, plain, write_text
from raysafe.ranking.diagnosis import DIAGNOSIS_FILE, Diagnosis
from raysafe.report.figures import tracked
from raysafe.report.rankings import FOLDER as RANKINGS
from raysafe.report.rankings import dotted
from raysafe.report.summary import SUMMARY
from raysafe.stages.inputs import TrialInputs
from raysafe.stages.making import History
from raysafe.sweep.events import JobChanged, JobState, PointTold, TrialEnded
from raysafe.sweep.places import SWEEP
from raysafe.sweep.trial_record import TrialRecord
from raysafe.sweep.written import trial_document
from raysafe.tracking.base import DatasetSpec, EndStatus, RunSpec, Tracker


@dataclass
class TrackedRuns:
    """`tracker`: best a backlog, which nobody has to wait for. `stages`: job id to the run of a shared stage."""

    tracker: Tracker
    store: Artifacts
    parent: str = ""
    stages: dict[str, str] = field(default_factory=dict)

    def start_sweep(self, name: str, question: str, trials: int, folder: Path) -> None:
        """The parent of all runs."""
        self.parent = self.tracker.start(
            RunSpec("sweep", name, name, params={"trials": trials}, tags={"raysafe.question": question})
        )
        self.tracker.artifact(self.parent, folder / SWEEP)

    def end_sweep(self, status: EndStatus, folder: Path, left: Iterable[str] = ()) -> None:
        """End the parent, with the summary in it, and before it what is `left` of other runs."""
        for run in left:
            if run != self.parent:
                self.tracker.end(run, "INTERRUPTED")
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
        return [id for id in trial.jobs.values() if self.store.by_id(id).kind == "rank" and id in self.stages]

    def start_trial(self, trial: TrialRecord, inputs: TrialInputs, at: float) -> None:
        """The trial's run, with its settings, its configuration and what it reads."""
        config, name = trial.plan.config, trial.plan.name
        params = {**dotted(plain(config)), **trial.plan.swept}
        trial.run = self.tracker.start(RunSpec("trial", name, name, self.parent, params), milliseconds(at))
        written = trial_document(trial.folder.parents[1].name, config, inputs)
        write_text(trial.folder / "config.yaml", yaml.safe_dump(written, sort_keys=False))
        self.tracker.artifact(trial.run, trial.folder / "config.yaml")
        for role, data in inputs.data().items():
            self.tracker.dataset(trial.run, DatasetSpec(role, data.path, data.fingerprint, role))

    def trial_point(self, trial: TrialRecord, point: PointTold) -> None:
        """A point of a trial's training, which the trial has noted. The last one's scores give way to the final ones, which
        stand at the same step: a metric has one value a step."""
        metrics = named(point.metrics, "train")
        if trial.last_epoch:
            metrics = {name: value for name, value in metrics.items() if not name.startswith("eval/")}
        self.tracker.log(trial.run, point.step, metrics, milliseconds(point.at))

    def end_trial(self, trial: TrialRecord, end: TrialEnded) -> None:
        """Final scores and seconds at the last step of training, and what was selected. A failed trial's may still come, on going
        on."""
        if end.status != "FAILED":
            self.tracker.log(trial.run, trial.step, tracked(trial.figures()), milliseconds(end.at))
        for name in ("selection.parquet", "safeinstr.parquet"):
            if (trial.folder / name).exists():
                self.tracker.artifact(trial.run, trial.folder / name)
        self.tracker.end(trial.run, end.status, trial.error, milliseconds(end.at))

    def stage_point(self, point: PointTold) -> None:
        """A point of a shared stage."""
        run = self._stage(point.job, point.label, point.at)
        self.tracker.log(run, point.step, named(point.metrics, point.label), milliseconds(point.at))

    def stage_changed(self, event: JobChanged) -> None:
        """A shared stage began or ended."""
        if event.state is JobState.RUNNING:
            self._stage(event.job, event.label, event.at)
        elif event.state is JobState.DONE:
            self._end_stage(event)
        elif event.job in self.stages and event.state.ended:
            status: EndStatus = "FAILED" if event.state is JobState.FAILED else "STOPPED"
            self.tracker.end(self.stages.pop(event.job), status, event.error, milliseconds(event.at))

    def _stage(self, job: str, label: str, at: float, reused: bool = False) -> str:
        if job not in self.stages:
            key, tags = self.store.by_id(job).key, {"raysafe.reused": "true"} if reused else {}
            spec = RunSpec("stage", key, f"{label} {key[:8]}", self.parent, tags=tags, stage=label)
            self.stages[job] = self.tracker.start(spec, milliseconds(at))
        return self.stages[job]

    def _end_stage(self, event: JobChanged) -> None:
        artifact, time_ms = self.store.by_id(event.job), milliseconds(event.at)
        run = self._stage(event.job, event.label, event.at, event.reused)
        if (artifact.folder / DIAGNOSIS_FILE).exists():  # at the last step, where a trained selector has its last point
            step = max((step for step, _ in History.of(artifact)), default=0)
            self.tracker.log(run, step, Diagnosis.load(artifact.folder / DIAGNOSIS_FILE).metrics(), time_ms)
        for name in ("manifest.json", "ranking.parquet", DIAGNOSIS_FILE, "scores.json"):
            if (artifact.folder / name).exists():
                self.tracker.artifact(run, artifact.folder / name)
        self.tracker.end(run, "FINISHED", time_ms=time_ms)


def named(metrics: Mapping[str, float], label: str) -> dict[str, float]:
    """Metrics under `LABEL/...` where they bring no such name themselves, so that MLflow groups them."""
    return {name if "/" in name else f"{label}/{name}": value for name, value in metrics.items()}


def milliseconds(seconds: float) -> int:
    """MLflow's unit."""
    return int(seconds * 1000)
