"""Tune's schedulers by the names that a configuration has for them: one builder a name."""

from collections.abc import Callable
from typing import Any

from raysafe.config.sections import SchedulerSettings

TIME = "epoch"
"""What schedulers count in: Tune's own iteration count starts anew when a sweep is resumed."""


def none(settings: SchedulerSettings, epochs: int) -> Any:
    """Every trial runs to its end."""
    from ray.tune.schedulers import FIFOScheduler

    return FIFOScheduler()


def asha(settings: SchedulerSettings, epochs: int) -> Any:
    """Successive halving without waiting (Li et al., 2020, https://arxiv.org/abs/1810.05934)."""
    from ray.tune.schedulers import ASHAScheduler

    return ASHAScheduler(
        time_attr=TIME,
        metric=settings.metric,
        mode=settings.mode,
        max_t=epochs + 1,  # a trial that gets to its last epoch still has to be evaluated
        grace_period=settings.grace_epochs,
        reduction_factor=settings.reduction_factor,
    )


SCHEDULERS: dict[str, Callable[[SchedulerSettings, int], Any]] = {"none": none, "asha": asha}
"""Each takes its settings and the epochs of the longest trial."""
