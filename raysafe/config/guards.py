"""Guards: a floor or a ceiling under a figure of a trial, and what becomes of a trial that is beyond it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from raysafe.errors import require


@dataclass(frozen=True)
class Guard:
    """What a figure must be for a trial to count, as `utility: {at_least: 0.8}`."""

    at_least: float | None = None
    at_most: float | None = None
    do: Literal["fail", "stop"] = "fail"
    """`fail`: a trial that ends beyond it has failed; `stop`: it is stopped, after an epoch already, as a scheduler stops one."""
    by: Literal["value", "interval"] = "value"
    """`value`: what was measured decides; `interval`: only a whole 95 % interval beyond the limit is beyond it."""

    def __post_init__(self) -> None:
        require(self.at_least is not None or self.at_most is not None, "at_least or at_most is given", None)
        if self.at_least is not None and self.at_most is not None:
            require(self.at_least <= self.at_most, "at_least <= at_most", self.at_least)

    def beyond(self, name: str, figures: Mapping[str, float]) -> str:
        """How the figure `name` breaks the guard; empty where it holds. `figures`: with NAME_low and NAME_high. One that has no
        value breaks it: what can't be told holds nothing."""
        value = figures.get(name, math.nan)
        if math.isnan(value):
            return f"guard `{name}`: the trial has no such figure, so that {self._limits()} can't be told"
        low, high = (figures.get(f"{name}_{end}", value) for end in ("low", "high"))
        lowest, highest = (low, high) if self.by == "interval" else (value, value)
        told = f"guard `{name}`: {value:.4g} [{low:.4g}, {high:.4g}]"
        if self.at_least is not None and highest < self.at_least:
            return f"{told} is below at_least {self.at_least:g}"
        if self.at_most is not None and lowest > self.at_most:
            return f"{told} is above at_most {self.at_most:g}"
        return ""

    def _limits(self) -> str:
        limits = {"at_least": self.at_least, "at_most": self.at_most}
        return " and ".join(f"{name} {limit:g}" for name, limit in limits.items() if limit is not None)
