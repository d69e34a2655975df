"""Who paid for what: seconds of work by trial and kind of stage, from the desk's events.

A stage that several trials want is paid for by the one that asked first; what was in the store already costs nothing. The sum
over trials is the work that the sweep did. It is kept in `costs.json` in the sweep's folder, so that a sweep that is gone on with
knows what was paid before.
"""

import json
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raysafe.artifacts import Artifacts, write_text
from raysafe.sweep.events import JobChanged, JobState

COSTS = "costs.json"
_NAMES = {"base": "sandbox", "alignment": "alignment"}
"""What people know a kind of stage as that goes by more than one name: by the label of its stages."""
TRAIN = "train"
"""The label of a trial's own training."""


@dataclass
class JobCost:
    """A stage of the sweep. `asked`: trials, in the order in which they asked for it. `paid`: seconds, by trial. `open`: seconds
    that nobody has paid for, as nobody who wants it is left; who asks next pays them. `own`: trials whose own training
    it is, which others may want as their opponent."""

    label: str
    asked: list[str] = field(default_factory=list)
    paid: dict[str, float] = field(default_factory=dict)
    open: float = 0.0
    own: list[str] = field(default_factory=list)

    @property
    def owners(self) -> list[str]:
        """Those in `own`; earlier versions, which knew no opponents, kept none."""
        return self.own or (self.asked if self.label == TRAIN else [])


class Costs:
    """The sweep's ledger. `trials`: names of those that are to be run; what anybody else asks for is paid for by the first of
    them that needs it, too."""

    def __init__(self, folder: Path, store: Artifacts, trials: Collection[str]) -> None:
        self.path, self.store, self.trials = folder / COSTS, store, trials
        self.jobs: dict[str, JobCost] = {}
        if self.path.exists():
            known = json.loads(self.path.read_text(encoding="utf-8"))
            self.jobs = {id: JobCost(**job) for id, job in known.items()}
        self._since: dict[str, float] = {}
        self._ended: set[str] = set()
        self._seconds: dict[str, float] = {}
        self._saved = 0.0

    def wanted(self, trial: str, job: str, label: str, at: float) -> None:
        """A trial asks for a stage."""
        cost = self.jobs.setdefault(job, JobCost(label))
        if trial not in self.trials:
            return
        self._charge(job, at)
        if trial not in cost.asked:
            cost.asked.append(trial)
        if label == TRAIN and trial not in cost.own:
            cost.own.append(trial)
        self._pay(cost)

    def changed(self, event: JobChanged) -> None:
        """A stage began, ended, or began again."""
        self.jobs.setdefault(event.job, JobCost(event.label))
        self._charge(event.job, event.at)
        self._since.pop(event.job, None)
        if event.state is JobState.RUNNING:
            self._since[event.job] = event.at

    def ended(self, trial: str, at: float) -> None:
        """A trial is over: what still runs is paid for, from now on, by the next one that wants it."""
        for job in list(self._since):
            self._charge(job, at)
        self._ended.add(trial)

    def _charge(self, job: str, at: float) -> None:
        """Pay for a running stage until now."""
        if job in self._since:
            self.jobs[job].open += max(0.0, at - self._since[job])
            self._since[job] = at
            self._pay(self.jobs[job])

    def _pay(self, cost: JobCost) -> None:
        payer = next((trial for trial in cost.asked if trial in self.trials and trial not in self._ended), None)
        if payer is not None and cost.open:
            cost.paid[payer] = cost.paid.get(payer, 0.0) + cost.open
            cost.open = 0.0

    def figures(self, trial: str) -> dict[str, Any]:
        """`seconds_KIND` of every kind of stage that the trial asked for, `seconds_saved`, and `same_as` where it has one."""
        used = {id: job for id, job in self.jobs.items() if trial in job.asked}
        seconds: dict[str, float] = {}
        for id, job in used.items():
            name = f"seconds_{_NAMES.get(job.label, self.store.by_id(id).kind)}"
            seconds[name] = seconds.get(name, 0.0) + job.paid.get(trial, 0.0)
        saved = sum(max(0.0, self._took(id) - job.paid.get(trial, 0.0)) for id, job in used.items())
        found = {**seconds, "seconds_saved": saved} if used else {}
        twin = self.same_as(trial)
        return {name: round(value, 2) for name, value in found.items()} | ({"same_as": twin} if twin else {})

    def used(self) -> dict[str, list[str]]:
        """The trials that asked for each job."""
        return {id: job.asked for id, job in self.jobs.items()}

    def same_as(self, trial: str) -> str:
        """The trial that asked first for the training that is this trial's own, too; empty if it was this one."""
        own = next((job.owners for job in reversed(self.jobs.values()) if trial in job.owners), [trial])
        return own[0] if own[0] != trial else ""

    def _took(self, job: str) -> float:
        """Seconds of a finished stage, whoever made it and when; 0 of one that isn't there."""
        if job not in self._seconds:
            artifact = self.store.by_id(job)
            if not self.store.ready(artifact.kind, artifact.key):
                return 0.0
            self._seconds[job] = float(artifact.manifest()["seconds"])
        return self._seconds[job]

    def save(self, at: float, after_s: float = 0.0) -> None:
        """Write the ledger, if it is so many seconds since the last time; what runs is paid for until now."""
        if time.monotonic() - self._saved < after_s:
            return
        for job in list(self._since):
            self._charge(job, at)
        write_text(self.path, json.dumps({id: vars(job) for id, job in self.jobs.items()}))
        self._saved = time.monotonic()
