"""Where a sweep's trials come from: a source gives the next one and is told how they go; `SEARCHES` lists the sources."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from raysafe.config.trials import TrialPlan


class TrialSource(Protocol):
    """What comes next in a sweep."""

    def next(self) -> TrialPlan | None:
        """The next trial; None once there are no more."""

    def tell(self, trial: str, metrics: Mapping[str, float], ended: bool) -> None:
        """What the scheduler hears of a trial: after an epoch, or the last of it when the trial has ended."""


class Grid:
    """Every trial of the sweep's file, in its order, whatever becomes of the others."""

    def __init__(self, plans: Sequence[TrialPlan]) -> None:
        self._plans = iter(plans)

    def next(self) -> TrialPlan | None:
        return next(self._plans, None)

    def tell(self, trial: str, metrics: Mapping[str, float], ended: bool) -> None:
        """It learns nothing."""


SEARCHES: dict[str, Callable[[Sequence[TrialPlan]], TrialSource]] = {"grid": Grid}
"""Sources by name, each made from the sweep's trials."""
