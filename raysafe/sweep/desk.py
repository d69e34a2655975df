"""The desk: trials post stages, waiting groups of workers take them, both ask here how things stand.

Plain state and plain methods, so that tests need no cluster; `groups.py` puts one desk into an actor. A stage asked for by
several trials is one job. A group whose workers died is offered what it held again.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

WAIT, CLOSE, RENEW = "wait", "close", "renew"


class JobState(StrEnum):
    """What has become of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self in (JobState.DONE, JobState.FAILED, JobState.STOPPED)


@dataclass
class Job:
    """A stage that somebody wants. `payload` is the stage itself, opaque to the desk."""

    id: str
    label: str
    shared: bool
    payload: Any
    wanted_by: set[str] = field(default_factory=set)
    state: JobState = JobState.QUEUED
    group: str | None = None
    attempts: int = 0
    rows: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    error: str = ""


@dataclass(frozen=True)
class Event:
    """Something that happened, for the one who keeps the record: a job's new state, or a row of metrics."""

    job: str
    label: str
    shared: bool
    trials: tuple[str, ...]
    state: JobState
    step: int | None = None
    metrics: dict[str, float] | None = None
    error: str = ""


class Desk:
    """See the module. `max_failures`: how often a job is offered again after its workers died."""

    def __init__(self, max_failures: int, fresh_every: int | None = None) -> None:
        self.max_failures, self.fresh_every = max_failures, fresh_every
        self.jobs: dict[str, Job] = {}
        self.queue: deque[str] = deque()
        self.log: list[Event] = []
        self.served: dict[str, int] = {}
        self.ends: dict[str, Any] = {}
        self.closed = False

    def post(self, trial: str, stages: Sequence[tuple[str, str, bool, Any]]) -> None:
        """A trial wants these stages: (job id, label, shared, payload) each. A stopped one is tried again, a failed one not."""
        for job_id, label, shared, payload in stages:
            job = self.jobs.get(job_id)
            if job is None or job.state is JobState.STOPPED:
                job = self.jobs[job_id] = Job(job_id, label, shared, payload)
                self.queue.append(job_id)
            job.wanted_by.add(trial)
            if self.closed and not job.state.ended:
                self._end(job, JobState.FAILED, "the sweep has been closed")

    def look(self, job_id: str, rows_from: int = 0) -> tuple[JobState, list[tuple[int, dict[str, float]]], str]:
        """A job's state, its rows from a place on, and its error."""
        job = self.jobs[job_id]
        return job.state, job.rows[rows_from:], job.error

    def next_job(self, group: str) -> tuple[str, Any]:
        """What a group does next: (job id, payload), or WAIT, CLOSE or RENEW with None.

        A group that asks while it holds a job has lost its workers on the way.
        """
        held = next((job for job in self.jobs.values() if job.group == group and job.state is JobState.RUNNING), None)
        if held is not None:
            return self._offer_again(held, group)
        if self.closed:
            return CLOSE, None
        if self.fresh_every is not None and self.served.get(group, 0) >= self.fresh_every:
            self.served[group] = 0
            return RENEW, None
        while self.queue:
            job = self.jobs[self.queue.popleft()]
            if job.state is JobState.QUEUED:
                return self._give(job, group)
        return WAIT, None

    def _give(self, job: Job, group: str) -> tuple[str, Any]:
        job.state, job.group = JobState.RUNNING, group
        job.attempts += 1
        self._tell(job)
        return job.id, job.payload

    def _offer_again(self, job: Job, group: str) -> tuple[str, Any]:
        if job.attempts > self.max_failures:
            self._end(job, JobState.FAILED, f"its workers died {job.attempts} times")
            return self.next_job(group)
        return self._give(job, group)

    def row(self, group: str, job_id: str, step: int, metrics: dict[str, float]) -> bool:
        """A row of metrics of a running job. True is the order to stop: nobody wants it any more."""
        job = self.jobs[job_id]
        if job.group != group or job.state is not JobState.RUNNING:
            return True
        job.rows.append((step, metrics))
        self._tell(job, step, metrics)
        return not job.wanted_by

    def unwanted(self, job_id: str) -> bool:
        """Whether a running job is to stop now: nobody wants it any more, or the desk has closed."""
        return self.closed or not self.jobs[job_id].wanted_by

    def end(self, group: str, job_id: str, state: JobState, error: str = "") -> None:
        """A group is through with a job."""
        job = self.jobs[job_id]
        if job.group != group or job.state.ended:
            return
        self.served[group] = self.served.get(group, 0) + 1
        if state is JobState.STOPPED and job.wanted_by:  # somebody has asked for it since the order to stop
            job.state, job.group = JobState.QUEUED, None
            self.queue.append(job_id)
        else:
            self._end(job, state, error)

    def halt(self, trial: str) -> None:
        """A trial wants nothing any more: what only it wanted is stopped at its next row, or not begun."""
        for job in self.jobs.values():
            job.wanted_by.discard(trial)
            if not job.wanted_by and job.state is JobState.QUEUED:
                self._end(job, JobState.STOPPED)

    def lose(self, group: str, error: str, others: int) -> None:
        """A group is gone for good. What it held goes back into the queue, or fails with all the rest if no group is left."""
        for job in self.jobs.values():
            if job.state is JobState.RUNNING and job.group == group:
                job.state, job.group = JobState.QUEUED, None
                self.queue.appendleft(job.id)
        if others == 0 and not self.closed:
            self.close(f"no worker group is left: {error}")

    def close(self, error: str = "the sweep has been closed") -> None:
        """No more work: groups go home, open jobs fail with `error`."""
        self.closed = True
        for job in self.jobs.values():
            if not job.state.ended and job.state is JobState.QUEUED:
                self._end(job, JobState.FAILED, error)

    def record(self, trial: str, end: Any) -> None:
        """What a trial came to: a `TrialEnd`, opaque to the desk."""
        self.ends[trial] = end

    def end_of(self, trial: str) -> Any:
        """What was recorded of a trial; None of one that has recorded nothing."""
        return self.ends.get(trial)

    def is_closed(self) -> bool:
        """Whether there is no more work to come."""
        return self.closed

    def events(self, since: int) -> list[Event]:
        """What has happened from event number `since` on."""
        return self.log[since:]

    def _end(self, job: Job, state: JobState, error: str = "") -> None:
        job.state, job.error = state, error
        job.payload = None
        self._tell(job)

    def _tell(self, job: Job, step: int | None = None, metrics: dict[str, float] | None = None) -> None:
        trials = tuple(sorted(job.wanted_by))
        self.log.append(Event(job.id, job.label, job.shared, trials, job.state, step, metrics, job.error))
