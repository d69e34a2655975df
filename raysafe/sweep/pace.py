"""How far a sweep is and how long it still takes, worked out from the desk's log beside the record."""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Protocol

from raysafe.artifacts import Artifacts
from raysafe.config.trials import TrialConfig
from raysafe.report.progress import Progress, StageState, TrialState, fraction
from raysafe.report.summary import TrialRow
from raysafe.sandbox.phases import STEPS
from raysafe.stages.alignment import ALIGNMENT
from raysafe.sweep.events import Event, GroupCame, JobChanged, JobState, JobWanted, PointTold
from raysafe.sweep.status import state_of
from raysafe.sweep.trial_record import TrialRecord

BASE, RANK, PROXY, TRAIN = "base", "rank", "proxy", "train"
"""Labels of stages of which something is told."""
IN_STEPS = {BASE: "making the base model", ALIGNMENT: "aligning the base model"}
"""Those that tell steps, not epochs, and what is said while the trials wait for them."""
AFTER_TRAINING = ("answers", "verdicts", "readings")
LAST = 5
"""Measurements of a kind that are kept: what takes long now counts, not what took long at first."""
TOLD_AGAIN = 10
"""An epoch that takes so many times as long as those before it: they were not run, but told again."""
ROOM_EVERY_S = 5.0


class Workers(Protocol):
    """The groups of workers that a sweep counts on. `grows`: of a cluster that brings up nodes on demand."""

    @property
    def count(self) -> int: ...

    @property
    def grows(self) -> bool: ...

    def room(self) -> int:
        """How many of them the cluster has room for now."""
        ...


@dataclass
class JobPace:
    """A job: when it began, when it told its last epoch, and whether it is over. `epochs`: of how many, 0 if it tells none."""

    label: str
    epochs: int = 0
    started: float = 0.0
    told: float = 0.0
    epoch: int = 0
    shared: bool = False
    running: bool = False
    over: bool = False


@dataclass
class Pace:
    """`take` every event once; `progress` says how things stand. `began`: when the command was called, since 1970."""

    configs: Mapping[str, TrialConfig]
    store: Artifacts
    workers: Workers | None = None
    began: float = field(default_factory=time.time)
    clock: Callable[[], float] = time.time
    jobs: dict[str, JobPace] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)
    epoch_s: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=LAST)))
    whole_s: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=LAST)))
    _room: tuple[float, int] = (0.0, 0)

    def take(self, events: Iterable[Event]) -> None:
        """Take in what has happened."""
        for event in events:
            if isinstance(event, GroupCame):
                self.groups.add(event.group)
            elif isinstance(event, JobWanted):
                self._wanted(event)
            elif isinstance(event, JobChanged):
                self._changed(event)
            elif isinstance(event, PointTold) and event.job in self.jobs:
                self._told(self.jobs[event.job], event)

    def _wanted(self, event: JobWanted) -> None:
        job = self.jobs.setdefault(event.job, JobPace(event.label))
        if event.trial in self.configs:
            job.epochs = epochs_of(self.configs[event.trial], event.label)

    def _changed(self, event: JobChanged) -> None:
        known = (epochs_of(config, event.label) for config in self.configs.values())
        steps = max(known, default=0) if event.label in IN_STEPS else 0  # which are posted before any trial asks for them
        job = self.jobs.setdefault(event.job, JobPace(event.label, steps))
        job.shared, job.running, job.over = event.shared, event.state is JobState.RUNNING, event.state.ended
        if job.running:
            job.started = job.told = event.at
        elif event.state is JobState.DONE:
            if job.started:
                self.whole_s[job.label].append(event.at - job.started)
            if job.label == RANK:
                self._note_warnings(event.job)

    def _note_warnings(self, job: str) -> None:
        artifact = self.store.by_id(job)
        texts = artifact.result.get("warnings", ()) if self.store.ready(artifact.kind, artifact.key) else ()
        self.warnings += [text for text in texts if text not in self.warnings]

    def _told(self, job: JobPace, event: PointTold) -> None:
        epoch = event.step if job.label in IN_STEPS else int(event.metrics.get("epoch", 0))
        if job.started and epoch > job.epoch:
            measured, seconds = self.epoch_s[job.label], (event.at - job.told) / (epoch - job.epoch)
            if measured and seconds > TOLD_AGAIN * median(measured):
                measured.clear()  # a stage that goes on tells its earlier epochs again, all at once
            measured.append(seconds)
        if epoch > job.epoch:
            job.epoch, job.told = epoch, event.at

    def progress(self, trials: Sequence[TrialRecord], kept: Iterable[TrialRow] = ()) -> Progress:
        """How things stand now. `kept`: trials that had ended before this run of the sweep."""
        shared = {id: job for id, job in self.jobs.items() if job.shared}
        running = [stage_of(id, job) for id, job in shared.items() if job.running]
        return Progress(
            trials=(*map(state_of, kept), *(self._state(trial) for trial in trials)),
            stages=tuple(running),
            made=sum(job.over for job in shared.values()),
            waiting=self._waiting(),
            left_s=self.left(trials),
            elapsed_s=self.clock() - self.began,
            warnings=tuple(self.warnings),
        )

    def _state(self, trial: TrialRecord) -> TrialState:
        state, job = trial.state(), self.jobs.get(trial.jobs.get(trial.stage, ""))
        if trial.stage == TRAIN:
            return replace(state, progress=fraction(trial.epoch, state.epochs))
        return replace(state, progress=fraction(job.epoch, job.epochs) if job else "")

    def _waiting(self) -> str:
        """What everything else waits for."""
        workers = self.workers
        if workers is not None and len(self.groups) < workers.count:
            text = f"waiting for workers: {len(self.groups)} of {workers.count} groups are at work"
            room = self._room_now(workers) if workers.grows else workers.count
            return text + (f"; the cluster has room for {room} now, waiting for nodes" if room < workers.count else "")
        making = {job.label for job in self.jobs.values() if job.running}
        return next((words for label, words in IN_STEPS.items() if label in making), "")

    def _room_now(self, workers: Workers) -> int:
        asked, room = self._room
        if self.clock() - asked > ROOM_EVERY_S:
            room = workers.room()
            self._room = self.clock(), room
        return room

    def left(self, trials: Sequence[TrialRecord]) -> float | None:
        """Seconds until the last trial ends, if the groups share what is left; None before an epoch or a training has been
        measured. Trials that have not begun are taken to need a training of their own, which is most that they can need."""
        if not (self.epoch_s[TRAIN] or self.whole_s[TRAIN]):
            return None
        open_trials = [trial for trial in trials if not trial.ended]
        work = sum(self._left_of(job) for job in self.jobs.values() if job.shared and not job.over)
        trainings = {trial.jobs.get(TRAIN, trial.plan.name): trial for trial in open_trials}
        work += sum(self._training_left(id, trial) for id, trial in trainings.items())
        work += sum(median(self.whole_s[label]) for label in AFTER_TRAINING if self.whole_s[label]) * len(trainings)
        return work / max(1, min(len(self.groups), len(trainings))) if open_trials else None

    def _training_left(self, id: str, trial: TrialRecord) -> float:
        job = self.jobs.get(id)
        return self._left_of(job or JobPace(TRAIN, trial.plan.config.training.epochs))

    def _left_of(self, job: JobPace) -> float:
        if job.over:
            return 0.0
        if job.epochs and self.epoch_s[job.label]:
            whole, since = median(self.epoch_s[job.label]) * (job.epochs - job.epoch), self.clock() - job.told
        else:
            whole, since = median(self.whole_s[job.label] or [0.0]), self.clock() - job.started
        return max(0.0, whole - since) if job.running else whole


def stage_of(id: str, job: JobPace) -> StageState:
    """A running shared stage as it is told."""
    unit = "step" if job.label in IN_STEPS else "epoch"
    return StageState(f"{job.label} {id.rpartition('-')[2][:8]}", job.label, job.epoch, job.epochs, unit)


def epochs_of(trial: TrialConfig, label: str) -> int:
    """How many epochs a stage of a trial tells, or steps, where it makes the model to start from; 0 for one that tells none."""
    if label == RANK:
        return trial.selector.learned.epochs if trial.selector.learned is not None else 0
    epochs = {TRAIN: trial.training.epochs, PROXY: trial.proxy.epochs}
    return (epochs | {BASE: STEPS, ALIGNMENT: trial.tricks.base_steps}).get(label, 0)
