"""The runs of shared stages in the tracker: what they read, what they reported, whom they served."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from raysafe.artifacts import Artifacts
from raysafe.ranking.diagnosis import DIAGNOSIS_FILE, Diagnosis
from raysafe.stages.making import History
from raysafe.stages.readings import READINGS
from raysafe.sweep.described import datasets_of, stage_facts, used_by
from raysafe.sweep.events import JobChanged, JobState, PointTold
from raysafe.tracking.base import DESCRIPTION, EndStatus, RunSpec, Tracker


@dataclass
class StageRuns:
    """`parent`: the sweep's run. `swept`: what it sets, dotted. `titles`: of its trials, by name.

    runs: job id to the run of a stage. names, about: what people call a stage and what is said of it, once it is made.
    """

    tracker: Tracker
    store: Artifacts
    parent: str = ""
    swept: Sequence[str] = ()
    titles: Mapping[str, str] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)

    def point(self, point: PointTold) -> None:
        """A point of a shared stage."""
        run = self._stage(point.job, point.label, point.at)
        self.tracker.log(run, point.step, named(point.metrics, point.label), milliseconds(point.at))

    def changed(self, event: JobChanged) -> None:
        """A shared stage began or ended."""
        if event.state is JobState.RUNNING:
            self._stage(event.job, event.label, event.at)
        elif event.state is JobState.DONE:
            self._end_stage(event)
        elif event.job in self.runs and event.state.ended:
            status: EndStatus = "FAILED" if event.state is JobState.FAILED else "STOPPED"
            self.tracker.end(self.runs.pop(event.job), status, event.error, milliseconds(event.at))

    def _stage(self, job: str, label: str, at: float) -> str:
        """The run of a stage that is under way; what it reads is known when it is made."""
        if job not in self.runs:
            key = self.store.by_id(job).key
            self.names[job] = f"{label} {key[:8]}"
            self.runs[job] = self.tracker.start(
                RunSpec("stage", key, self.names[job], self.parent, stage=label), milliseconds(at)
            )
        return self.runs[job]

    def _end_stage(self, event: JobChanged) -> None:
        artifact, time_ms = self.store.by_id(event.job), milliseconds(event.at)
        manifest = artifact.manifest()
        self.names[event.job], params = stage_facts(artifact, event.label, manifest, self.swept)
        tags = {"raysafe.reused": "true"} if event.reused and event.job not in self.runs else {}
        spec = RunSpec("stage", artifact.key, self.names[event.job], self.parent, params, tags, event.label)
        run = self.runs[event.job] = self.tracker.start(spec, time_ms)
        if artifact.kind == "rank":
            for data in datasets_of(manifest["inputs"]):
                self.tracker.dataset(run, data)
        if (artifact.folder / DIAGNOSIS_FILE).exists():  # at the last step, where a trained selector has its last point
            step = max((step for step, _ in History.of(artifact)), default=0)
            self.tracker.log(run, step, Diagnosis.load(artifact.folder / DIAGNOSIS_FILE).metrics(), time_ms)
        for name in ("manifest.json", "ranking.parquet", DIAGNOSIS_FILE, "scores.json", READINGS):
            if (artifact.folder / name).exists():
                self.tracker.artifact(run, artifact.folder / name)
        took = (
            f"It took {manifest['seconds']:.1f} s."
            if not event.reused
            else f"It was in the store, and once took {manifest['seconds']:.1f} s."
        )
        self.about[event.job] = f"{self.names[event.job][0].upper()}{self.names[event.job][1:]}. {took}"
        self.tracker.note(run, {DESCRIPTION: self.about[event.job]})
        self.tracker.end(run, "FINISHED", time_ms=time_ms)

    def link(self, used: Mapping[str, Sequence[str]]) -> None:
        """Say in the run of every shared stage which trials it served."""
        for job, run in self.runs.items():
            trials = {name: self.titles.get(name, name) for name in used.get(job, ())}
            if trials and job in self.about:
                tags = {DESCRIPTION: f"{self.about[job]} {used_by(trials)}", "raysafe.trials": ", ".join(trials.values())}
                self.tracker.note(run, tags)


def named(metrics: Mapping[str, float], label: str) -> dict[str, float]:
    """Metrics under `LABEL/...` where they bring no such name themselves, so that MLflow groups them."""
    return {name if "/" in name else f"{label}/{name}": value for name, value in metrics.items()}


def milliseconds(seconds: float) -> int:
    """MLflow's unit."""
    return int(seconds * 1000)
