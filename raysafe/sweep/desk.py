"""The desk: trials post stages, waiting groups of workers take them, both ask here how things stand.

Plain state and plain methods, so that tests need no cluster; `groups.py` puts one desk into an actor. A stage asked for by
several trials is one job. A group whose workers died is offered what it held again. All that happens is noted in one log.
"""

import time
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from raysafe.sweep.events import Event, GroupCame, JobChanged, JobState, JobWanted, PointTold, TrialEnd, TrialEnded, TrialStarted

WAIT, CLOSE, RENEW = "wait", "close", "renew"
Point = tuple[int, dict[str, float]]
"""(step, metrics)."""


@dataclass
class Job:
    """A stage that somebody wants. `payload` is the stage itself, opaque to the desk; `trouble`: what ended its last attempt.
    `own`: what trials call it whose own it is; one's training may be another's opponent, which is shared."""

    id: str
    label: str
    shared: bool
    payload: Any
    wanted_by: set[str] = field(default_factory=set)
    own: dict[str, str] = field(default_factory=dict)
    state: JobState = JobState.QUEUED
    group: str | None = None
    attempts: int = 0
    points: list[Point] = field(default_factory=list)
    error: str = ""
    trouble: str = ""
    reused: bool = False


class Desk:
    """See the module. `max_failures`: how often a job is offered again after its workers died or failed."""

    def __init__(self, max_failures: int, fresh_every: int | None = None) -> None:
        self.max_failures, self.fresh_every = max_failures, fresh_every
        self.jobs: dict[str, Job] = {}
        self.queue: deque[str] = deque()
        self.held: dict[str, Job] = {}
        self.wanted: dict[str, set[str]] = defaultdict(set)
        self.groups: set[str] = set()
        self.served: dict[str, int] = {}
        self.ends: dict[str, TrialEnd] = {}
        self.log: list[Event] = []
        self.taken = 0
        self.closed, self.why_closed = False, ""

    # What a trial asks.

    def start(self, trial: str) -> None:
        """A trial begins."""
        self.log.append(TrialStarted(time.time(), trial))

    def post(self, trial: str, job_id: str, label: str, shared: bool, payload: Any) -> None:
        """A trial wants a stage. A stopped one is tried again, a failed one not."""
        job = self.jobs.get(job_id)
        if job is None or job.state is JobState.STOPPED:
            job = self.jobs[job_id] = Job(job_id, label, shared, payload)
            self.queue.append(job_id)
        self._want(trial, job, label, shared)
        if self.closed and not job.state.ended:
            self._end(job, JobState.FAILED, self.why_closed)

    def reuse(self, trial: str, job_id: str, label: str, shared: bool, points: Sequence[Point]) -> None:
        """A trial wants a stage whose result is in the store, with the points that it once told: they are told again."""
        job = self.jobs.get(job_id)
        if job is None or job.state in (JobState.FAILED, JobState.STOPPED):
            job = self.jobs[job_id] = Job(job_id, label, shared, None, points=list(points), reused=True)
            for point in points if shared else ():
                self._tell(job, point)
            self._end(job, JobState.DONE)
        self._want(trial, job, label, shared)

    def look(self, trial: str, job_id: str, seen: int = 0) -> tuple[JobState, Point | None, str]:
        """A job's state, the first point that the trial has not seen, and its error. The end is told after the last point."""
        job = self.jobs[job_id]
        if seen == len(job.points):
            return job.state, None, job.error
        if trial in job.own and trial in job.wanted_by:
            self._tell(job, job.points[seen], trial)
        return JobState.RUNNING, job.points[seen], ""

    def record(self, trial: str, end: TrialEnd) -> None:
        """What a trial came to, by itself; `halt` follows."""
        self.ends[trial] = end

    def halt(self, trial: str, failed: str = "") -> None:
        """A trial is over: what only it wanted is stopped at its next step, or not begun. `failed`: the scheduler's error."""
        for job_id in self.wanted.pop(trial, ()):
            job = self.jobs[job_id]
            job.wanted_by.discard(trial)
            if not job.wanted_by and job.state is JobState.QUEUED:
                self._end(job, JobState.STOPPED)
        end = self.ends.get(trial, TrialEnd())
        error = end.error or failed
        status = "FAILED" if error else "STOPPED" if end.result is None or end.stopped else "FINISHED"
        self.log.append(TrialEnded(time.time(), trial, status, end.result, error or end.stopped))  # type: ignore[arg-type]

    # What a group of workers asks.

    def next_job(self, group: str) -> tuple[str, Any]:
        """What a group does next: (job id, payload), or WAIT, CLOSE or RENEW with None.

        A group that asks while it holds a job has lost its workers on the way.
        """
        if group not in self.groups:
            self.groups.add(group)
            self.log.append(GroupCame(time.time(), group))
        if group in self.held:
            return self._give(self.held[group], group) or self.next_job(group)
        if self.closed:
            return CLOSE, None
        if self.fresh_every is not None and self.served.get(group, 0) >= self.fresh_every:
            self.served[group] = 0
            return RENEW, None
        while self.queue:
            job = self.jobs[self.queue.popleft()]
            given = self._give(job, group) if job.state is JobState.QUEUED else None
            if given is not None:
                return given
        return WAIT, None

    def _give(self, job: Job, group: str) -> tuple[str, Any] | None:
        if job.attempts > self.max_failures:
            last = f"; the last time: {job.trouble}" if job.trouble else ""
            self._end(job, JobState.FAILED, f"its workers died or failed {job.attempts} times{last}")
            return None
        job.state, job.group, self.held[group] = JobState.RUNNING, group, job
        job.attempts += 1
        job.trouble = ""
        self._note(job)
        return job.id, job.payload

    def point(self, group: str, job_id: str, step: int, metrics: dict[str, float]) -> bool:
        """A point of a running job. True is the order to stop: nobody wants it any more.

        What an earlier attempt has told already is not taken twice.
        """
        job = self.jobs[job_id]
        if job.group != group or job.state is not JobState.RUNNING:
            return True
        if job.wanted_by and (not job.points or step > job.points[-1][0]):
            job.points.append((step, metrics))
            if job.shared:
                self._tell(job, job.points[-1])
        return not job.wanted_by

    def unwanted(self, job_id: str) -> bool:
        """Whether a running job is to stop now: nobody wants it any more, or the desk has closed."""
        return self.closed or not self.jobs[job_id].wanted_by

    def trouble(self, group: str, job_id: str, problem: str) -> None:
        """A worker failed with what is no verdict on the job. The first problem of an attempt is kept; others follow from it."""
        job = self.jobs[job_id]
        if job.group == group and not job.trouble:
            job.trouble = problem

    def end(self, group: str, job_id: str, state: JobState, error: str = "") -> None:
        """A group is through with a job."""
        job = self.jobs[job_id]
        if job.group != group or job.state.ended:
            return
        self.served[group] = self.served.get(group, 0) + 1
        if state is JobState.STOPPED and job.wanted_by:  # somebody has asked for it since the order to stop
            self._queue_again(job)
            job.attempts = 0
        else:
            self._end(job, state, error)

    def lose(self, group: str, error: str, others: int) -> None:
        """A group is gone for good. What it held goes back into the queue, or fails with all the rest if no group is left."""
        if group in self.held:
            self._queue_again(self.held[group])
        if others == 0 and not self.closed:
            self.close(f"no worker group is left: {error}")

    def close(self, error: str = "the sweep has been closed") -> None:
        """No more work: groups go home, open jobs fail with `error`."""
        self.closed, self.why_closed = True, self.why_closed or error
        for job in self.jobs.values():
            if job.state is JobState.QUEUED:
                self._end(job, JobState.FAILED, error)

    def is_closed(self) -> bool:
        """Whether there is no more work to come."""
        return self.closed

    # What the keeper of the record asks.

    def events(self, since: int) -> list[Event]:
        """What has happened from event number `since` on; what came before has been taken in, and is let go."""
        done = max(0, since - self.taken)
        del self.log[:done]
        self.taken += done
        return list(self.log)

    def _want(self, trial: str, job: Job, label: str, shared: bool) -> None:
        job.wanted_by.add(trial)
        if not shared:
            job.own[trial] = label
        self.wanted[trial].add(job.id)
        self.log.append(JobWanted(time.time(), trial, job.id, label))

    def _queue_again(self, job: Job) -> None:
        self.held.pop(job.group or "", None)
        job.state, job.group = JobState.QUEUED, None
        self.queue.appendleft(job.id)

    def _end(self, job: Job, state: JobState, error: str = "") -> None:
        if self.held.get(job.group or "") is job:
            del self.held[job.group or ""]
        job.state, job.error, job.payload = state, error, None
        self._note(job)

    def _note(self, job: Job) -> None:
        trials, now = tuple(sorted(job.wanted_by)), time.time()
        self.log.append(JobChanged(now, job.id, job.label, job.shared, trials, job.state, job.attempts, job.error, job.reused))

    def _tell(self, job: Job, point: Point, trial: str | None = None) -> None:
        self.log.append(PointTold(time.time(), job.id, job.own.get(trial or "", job.label), *point, trial))
