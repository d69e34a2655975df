"""Where the variance of a figure comes from: prompts and seeds as random factors, crossed or nested, in any unbalanced table.

Analysis of variance by the method of moments (Henderson's method 1, *Biometrics* 9, 1953): sums of squares of the factors' level
means are set equal to what they are expected to be as sums of the components, and the equations are solved.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from raysafe.evaluation.intervals import effective, t_point, widened_ends
from raysafe.evaluation.metrics import Rate

PROMPT, TOGETHER, REST = "prompt", "together", "rest"
"""Sources beside seeds: prompts; what seeds do to a whole trial only in company; what is left of a single answer."""
Labels = tuple[int | None, ...]


@dataclass(frozen=True)
class Component:
    """A source of variance. `levels`: how many it has in a setting, at most; `df`: how well it is known; `variance`: of a single
    value, never below 0; `of_mean`: what it brings to the variance of one setting's mean, on average over settings."""

    source: str
    levels: int
    df: int
    variance: float
    of_mean: float


@dataclass(frozen=True)
class Crossed:
    """Values of one setting, N of them, and of each factor which level each value has (codes from 0)."""

    values_N: np.ndarray
    codes: Mapping[str, np.ndarray]

    @staticmethod
    def of(by_trial: Mapping[Labels, Mapping[str, float]], axes: Sequence[str]) -> "Crossed":
        """Of trials by their seeds, one for each of `axes`, each with its prompts' values. Factors with one level are left out,
        and so are prompts that were all asked once."""
        lines = [(seeds, prompt, value) for seeds, values in by_trial.items() for prompt, value in values.items()]
        labels = {name: [seeds[place] for seeds, _, _ in lines] for place, name in enumerate(axes)}
        codes = {name: _codes(found) for name, found in labels.items()}
        codes = {name: found for name, found in codes.items() if found.max(initial=0) > 0}
        if len(codes) > 1 and len(lines) > len(by_trial):
            codes[TOGETHER] = _codes([seeds for seeds, _, _ in lines])
        prompts = _codes([prompt for _, prompt, _ in lines])
        if 0 < prompts.max(initial=0) < len(lines) - 1:
            codes[PROMPT] = prompts
        return Crossed(np.array([value for _, _, value in lines]), codes)

    @cached_property
    def counts(self) -> dict[str, np.ndarray]:
        """How often each level of each factor stands."""
        return {name: np.bincount(found) for name, found in self.codes.items()}

    @cached_property
    def squares(self) -> dict[str, float]:
        """Sum of squares between the level means of each factor, and of all values about their mean (REST)."""
        centred_N = self.values_N - self.values_N.mean()
        sums = {name: np.bincount(found, centred_N) for name, found in self.codes.items()}
        between = {name: float((total**2 / self.counts[name]).sum()) for name, total in sums.items()}
        return between | {REST: float((centred_N**2).sum())}

    @cached_property
    def expected(self) -> dict[tuple[str, str], float]:
        """By how much each component counts in the expectation of each sum of squares."""
        n, found = len(self.values_N), {}
        for other, counts in self.counts.items():
            within_all = float((counts.astype(float) ** 2).sum()) / n
            for name in self.codes:
                both = self.codes[name] * len(counts) + self.codes[other]
                cells, times = np.unique(both, return_counts=True)
                found[name, other] = (
                    float((times.astype(float) ** 2 / self.counts[name][cells // len(counts)]).sum()) - within_all
                )
            found[REST, other] = n - within_all
        return found | {(name, REST): len(counts) - 1.0 for name, counts in self.counts.items()} | {(REST, REST): n - 1.0}

    @cached_property
    def df(self) -> dict[str, int]:
        """Degrees of freedom of each source, after what lies around it: prompts of their own in each world, seeds in company."""
        axes = [name for name in self.codes if name not in (PROMPT, TOGETHER)]
        found = {name: len(self.counts[name]) - 1 for name in axes}
        alone = sum(found.values())
        if TOGETHER in self.codes:
            found[TOGETHER] = len(self.counts[TOGETHER]) - 1 - alone
        if PROMPT in self.codes:
            found[PROMPT] = len(self.counts[PROMPT]) - 1 - sum(found[name] for name in axes if self._in_one(PROMPT, name))
        return found | {REST: len(self.values_N) - 1 - sum(found.values())}

    def _in_one(self, inner: str, outer: str) -> bool:
        """Whether each level of one factor lies in a single level of another."""
        pairs = np.unique(np.stack([self.codes[inner], self.codes[outer]]), axis=1)
        return pairs.shape[1] == len(self.counts[inner])

    def in_mean(self, name: str) -> float:
        """How much of a component is left in the mean of all values: 1 / levels in a balanced table."""
        n = len(self.values_N)
        return 1 / n if name == REST else float(((self.counts[name] / n) ** 2).sum()) if name in self.codes else 0.0


def _codes(labels: Sequence[object]) -> np.ndarray:
    known: dict[object, int] = {}
    return np.array([known.setdefault(label, len(known)) for label in labels], dtype=np.int64)


def components(settings: Sequence[Crossed]) -> list[Component]:
    """The components of all settings' tables together, each setting with a mean of its own. Sources without degrees of freedom,
    or that the design doesn't tell from another, are left out. Raises ValueError without a table."""
    if not settings:
        raise ValueError("`settings`: variance needs a table of values, but got none")
    sources = [name for name in dict.fromkeys(name for one in settings for name in one.df) if _df(settings, name) > 0]
    while True:
        expected = np.array([[_total(settings, row, column) for column in sources] for row in sources])
        scale = np.abs(expected).max(axis=0, initial=1e-300)
        if not sources or np.linalg.cond(expected / scale) < MOST_ALIKE:
            break
        sources.pop(-2 if len(sources) > 1 else 0)  # the rest stays: it takes up what can't be told apart
    squares = np.array([sum(one.squares.get(name, 0.0) for one in settings) for name in sources])
    variances = np.maximum(0.0, np.linalg.solve(expected, squares)) if sources else np.zeros(0)
    return [_component(settings, name, float(value)) for name, value in zip(sources, variances, strict=True)]


MOST_ALIKE = 1e9
"""Condition of the equations beyond which two sources are one."""


def _component(settings: Sequence[Crossed], name: str, variance: float) -> Component:
    levels = max(len(one.counts.get(name, one.values_N)) for one in settings)
    in_means = [one.in_mean(name) for one in settings]
    return Component(name, levels, _df(settings, name), variance, variance * sum(in_means) / len(in_means))


def _df(settings: Sequence[Crossed], name: str) -> int:
    return sum(one.df.get(name, 0) for one in settings)


def _total(settings: Sequence[Crossed], row: str, column: str) -> float:
    return sum(one.expected.get((row, column), 0.0) for one in settings)


def over_axes(by_trial: Mapping[Labels, Mapping[str, float]], share: bool = True) -> Rate:
    """Mean of one setting over prompts and several axes of seeds, by trial: its interval holds for other prompts and other seeds
    of every axis that varies.

    V = sum of the components, each over its number of levels. z is widened to Student's point at V's degrees of freedom
    (Satterthwaite, 1946), of which the axes' mean squares are unsure: at least those of the axis with fewest seeds. share:
    whether values lie in [0, 1], with Wilson's interval at the effective number of prompts. Raises ValueError without a value.
    """
    axes = [str(place) for place in range(len(next(iter(by_trial), ())))]
    table = Crossed.of(by_trial, axes)
    found = {one.source: one for one in components([table])}
    varied = [name for name in axes if name in table.codes]
    value, n = float(table.values_N.mean()), len(table.counts.get(PROMPT, table.values_N))
    of_prompts = sum(found[name].of_mean for name in (PROMPT, REST) if name in found)
    of_seeds = sum(found[name].of_mean for name in (*varied, TOGETHER) if name in found)
    unsure = sum((table.squares[name] / table.df[name] / len(table.values_N)) ** 2 / table.df[name] for name in varied)
    least = min((table.df[name] for name in varied), default=max(1, n - 1))

    def df(variance: Any) -> Any:
        return np.maximum(least, np.square(variance) / max(unsure, 1e-300))

    if share:
        mean = min(1.0, max(0.0, value))
        alone = effective(mean, of_prompts * (1 - 1 / n), n, round(len(table.values_N) / n))
        low, high = widened_ends(mean, alone, of_seeds, df if varied else lambda variance: math.inf)
        return Rate(value, float(low), float(high), n)
    variance = of_prompts + of_seeds
    half = float(t_point(df(variance))) * float(np.sqrt(variance))
    return Rate(value, value - half, value + half, n)
