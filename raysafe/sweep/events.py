"""What happens in a sweep, as the desk notes it: one ordered log, from which the record is made.

All that happened to a trial before its end stands before its end. `at`: seconds since 1970, on the desk's clock.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from raysafe.trial import TrialResult

TrialStatus = Literal["FINISHED", "STOPPED", "FAILED"]
"""How a trial ended; STOPPED: early, by the scheduler, or by a guard."""


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


@dataclass(frozen=True)
class TrialEnd:
    """What a trial leaves with the desk: its result, or the error that ended it; neither where it was stopped. `stopped`: the
    guard that did, if one has. A guard that fails a trial is its error, beside its result."""

    result: TrialResult | None = None
    error: str = ""
    stopped: str = ""

    @staticmethod
    def of(result: TrialResult) -> "TrialEnd":
        """Of a trial that got to its end, and was held against its guards there."""
        said = "; ".join(one.text for one in result.broken)
        fails = any(one.do == "fail" for one in result.broken)
        return TrialEnd(result, said if fails else "", "" if fails else said)


@dataclass(frozen=True)
class JobWanted:
    """A trial asks for what a job makes."""

    at: float
    trial: str
    job: str
    label: str


@dataclass(frozen=True)
class JobChanged:
    """A job has a new state. `trials` want it; `attempt` counts from 1; `reused`: its result was in the store already."""

    at: float
    job: str
    label: str
    shared: bool
    trials: tuple[str, ...]
    state: JobState
    attempt: int = 0
    error: str = ""
    reused: bool = False


@dataclass(frozen=True)
class PointTold:
    """A point: of a shared stage, or (`trial`) of its own stage as that trial, and its scheduler, was told it."""

    at: float
    job: str
    label: str
    step: int
    metrics: dict[str, float]
    trial: str | None = None


@dataclass(frozen=True)
class TrialStarted:
    """Tune has begun with a trial."""

    at: float
    trial: str


@dataclass(frozen=True)
class TrialEnded:
    """A trial is over."""

    at: float
    trial: str
    status: TrialStatus
    result: TrialResult | None = None
    error: str = ""


@dataclass(frozen=True)
class GroupCame:
    """A group of workers has asked for work for the first time."""

    at: float
    group: str


Event = GroupCame | JobWanted | JobChanged | PointTold | TrialStarted | TrialEnded
