"""How sure the difference of two levels is: from what both gave to the same prompts, or from the trials' intervals alone.

`docs/statistics.md` has the formulas, and what they assume.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raysafe.evaluation.intervals import normal_point, squares_of, t_point, t_share
from raysafe.report.levels import Pairs, level_of
from raysafe.report.prompts import AGREES, ByPrompt
from raysafe.report.replicates import SAME
from raysafe.report.summary import TrialRow

ALPHA = 0.05
"""The chance that any of a sweep's comparisons shows a difference where none has one."""
POWER = 0.8
"""How often a difference that is called visible would have been shown."""
MOST_ASKED = 4
"""Seeds up to which the same prompts, asked again, tell more of the prompts, where only summaries are known."""
Unit = Callable[[TrialRow], Any]


@dataclass(frozen=True)
class Noise:
    """How far trials of one cell scatter over seeds once what a seed does to all cells is taken off."""

    variance: float = 0.0
    df: int = 0


@dataclass(frozen=True)
class Difference:
    """Means at two levels, the ends of the interval at the level asked for, and p: the chance of such a difference, or a larger
    one, where there is none. visible: a true difference that had been shown at that level with a chance of `POWER`."""

    means: tuple[float, float]
    low: float
    high: float
    p: float
    visible: float
    seeds: int
    paired: bool
    """Whether prompts stood as pairs."""


@dataclass(frozen=True)
class Compared:
    """A figure's pairs of trials, seeds, and what is known of either."""

    pairs: Pairs
    figure: str
    share: bool
    unit: Unit
    noise: tuple[Noise, Noise]
    """Of trials over all cells, and of the factor's levels, each averaged over company."""

    def difference(self, by_prompt: ByPrompt, alpha: float) -> Difference:
        """Their difference with its interval at 1 - alpha."""
        found, means = self._by_prompt(by_prompt), self.per_seed.mean(axis=0)
        if found is None or abs(_mean(_mean(gap.values()) for gap in found) - float(means[1] - means[0])) > AGREES:
            return self._from_summaries(alpha)
        return self._paired(found, alpha)

    @property
    def seeds(self) -> int:
        """That stand behind it."""
        return len({self.unit(sides[0][0]) for sides in self.pairs.matched.values()})

    def between(self, gaps: np.ndarray, alpha: float) -> tuple[float, int]:
        """The variance of a seed's difference, and its degrees of freedom: of single trials, undivided, as company may share its
        luck, and no less than these differences' own; or of the factor's levels over seeds. The design alone says which: that
        whose interval is narrower where company shares nothing. 0 and 0 where nothing is known."""
        cells, levels = self.noise
        own = float(gaps.var(ddof=1)) if len(gaps) > 1 else 0.0
        df, company = max(cells.df, len(gaps) - 1), len(self.pairs.matched) / len(gaps)
        if levels.df and float(t_point(levels.df, alpha)) / math.sqrt(company) < float(t_point(df, alpha)):
            return 2 * levels.variance, levels.df
        return (max(own, 2 * cells.variance), df) if df else (0.0, 0)

    @property
    def by_seed(self) -> Mapping[Any, list[tuple[Sequence[TrialRow], Sequence[TrialRow]]]]:
        """The pairs of each seed; with one seed, those of each company, whose luck is its own, too."""
        found: dict[Any, list[tuple[Sequence[TrialRow], Sequence[TrialRow]]]] = defaultdict(list)
        alone = self.seeds == 1
        for (company, _), sides in self.pairs.matched.items():
            found[company if alone else self.unit(sides[0][0])].append(sides)
        return found

    @property
    def per_seed(self) -> np.ndarray:
        """S × 2: both levels' means of each seed over company."""
        means = [
            [[_mean(row.figures[self.figure] for row in side) for side in sides] for sides in found] for found in self._seeds
        ]
        return np.array([np.mean(found, axis=0) for found in means])

    @property
    def _seeds(self) -> list[list[tuple[Sequence[TrialRow], Sequence[TrialRow]]]]:
        return list(self.by_seed.values())

    def _by_prompt(self, by_prompt: ByPrompt) -> list[dict[str, float]] | None:
        """For each seed every prompt's mean difference over company; None where some pair shares half of its prompts or fewer."""
        by_seed = []
        for found in self._seeds:
            gaps = [_gap(sides, self.figure, by_prompt) for sides in found]
            shared = [prompt for prompt in gaps[0] if all(prompt in gap for gap in gaps)]
            if 2 * len(shared) <= max(map(len, gaps)) or len(shared) < 2:
                return None
            by_seed.append({prompt: _mean(gap[prompt] for gap in gaps) for prompt in shared})
        return by_seed

    def _paired(self, by_seed: Sequence[Mapping[str, float]], alpha: float) -> Difference:
        """Student's t at the variance over prompts and seeds of prompts' differences."""
        means, pairs = self.per_seed, len(self.pairs.matched)
        before, after = means.mean(axis=0)
        prompts, rest, n = self._variances(by_seed, pairs)
        between, df_seeds = self.between(means[:, 1] - means[:, 0], alpha)
        between /= len(by_seed)
        variance = prompts + max(0.0, between - rest)
        unsure = prompts**2 / (n - 1) + (between**2 / df_seeds if df_seeds else 0.0)
        df = max(min(n - 1, df_seeds or n - 1), variance**2 / max(unsure, 1e-300))
        error, point = math.sqrt(variance), float(t_point(df, alpha))
        p = self._mcnemar(by_seed)
        p = p if p is not None else float(t_share(abs(after - before) / error, df)) if error else 1.0
        visible = (point + float(normal_point(2 * (1 - POWER)))) * error
        return self._told((before, after), (point * error, point * error), p, visible, True)

    def _variances(self, by_seed: Sequence[Mapping[str, float]], pairs: int) -> tuple[float, float, int]:
        """Of the mean difference: the variance that prompts bring, with answers' own luck; that luck's part; and n. Of shares one
        answer more than seen is taken to differ, so that no width is 0."""
        unseen = 1 / pairs if self.share else 0.0
        if len(by_seed) == 1:
            values = np.array(list(by_seed[0].values()))
            n = len(values)
            return float(values.var(ddof=1)) / n + unseen / n**2, 0.0, n
        squares = squares_of(by_seed)
        n = int(squares.shape[1])
        rest = float(squares.residual) / (n * len(by_seed))
        return float(squares.of_prompts) + unseen / n**2, rest, n * (len(by_seed) if squares.nested else 1)

    def _mcnemar(self, by_seed: Sequence[Mapping[str, float]]) -> float | None:
        """The exact test of two single trials whose prompts are yes or no (McNemar, 1947); None for others."""
        if len(self.pairs.matched) > 1 or not self.share or self.noise[0].df:
            return None
        values = list(by_seed[0].values())
        ups, downs = values.count(1.0), values.count(-1.0)
        if ups + downs + values.count(0.0) < len(values) or any(len(side) > 1 for side in self._seeds[0][0]):
            return None
        from scipy.special import bdtr

        return min(1.0, 2 * float(bdtr(min(ups, downs), ups + downs, 0.5))) if ups + downs else 1.0

    def _from_summaries(self, alpha: float) -> Difference:
        """The wider of a t-interval over seeds and Newcombe's of the trials' own intervals."""
        means = self.per_seed
        before, after = means.mean(axis=0)
        gaps = [_newcombe(*(_rate(side, self.figure) for side in sides)) for sides in self.pairs.matched.values()]
        seeds, difference = len(means), after - before
        between, df = self.between(means[:, 1] - means[:, 0], alpha)
        error = math.sqrt(between / seeds) if df else 0.0
        usual = float(normal_point(ALPHA)) * math.sqrt(min(self.seeds, MOST_ASKED))
        down, up = (_mean(side) / usual for side in zip(*gaps, strict=True))
        of_seeds, point = (float(t_point(df, alpha)) * error if df else 0.0), float(normal_point(alpha))
        halves = max(of_seeds, point * down), max(of_seeds, point * up)
        side = down if difference > 0 else up
        p = max(_chance(difference, error, df), _chance(difference, side, math.inf))
        return self._told((before, after), halves, p, max(halves) * (1 + float(normal_point(2 * (1 - POWER))) / point), False)

    def _told(
        self, means: tuple[float, float], halves: tuple[float, float], p: float, visible: float, paired: bool
    ) -> Difference:
        low, high = means[1] - means[0] - halves[0], means[1] - means[0] + halves[1]
        low, high = (max(-1.0, low), min(1.0, high)) if self.share else (low, high)
        return Difference((float(means[0]), float(means[1])), float(low), float(high), p, float(visible), self.seeds, paired)


def noise_of(rows: Sequence[TrialRow], figure: str, unit: Unit) -> Noise:
    """Of trials, from the cells (of the same settings) that have all seeds; a trial that is another one's twin counts once. With
    one seed, how far trials are from a sum of their settings' effects."""
    cells: dict[str, dict[Any, list[float]]] = defaultdict(lambda: defaultdict(list))
    alone = [row for row in rows if figure in row.figures and not row.figures.get(SAME)]
    for row in alone:
        cells[repr(sorted(row.swept.items()))][unit(row)].append(float(row.figures[figure]))
    seeds = set().union(*cells.values()) if cells else set()
    if len(seeds) == 1:
        return _beside_settings(alone, figure)
    return _scatter([[_mean(cell[seed]) for seed in seeds] for cell in cells.values() if set(cell) == seeds])


def _beside_settings(rows: Sequence[TrialRow], figure: str) -> Noise:
    """Residuals of the additive model: what settings do together counts as scatter."""
    levels = sorted({(key, repr(value)) for row in rows for key, value in row.swept.items()})
    design = np.array([[1.0, *(float(repr(row.swept.get(key, ...)) == value) for key, value in levels)] for row in rows])
    values = np.array([float(row.figures[figure]) for row in rows])
    fit, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    df = len(rows) - int(rank)
    return Noise(float(np.square(values - design @ fit).sum()) / df, df) if df else Noise()


def noise_of_levels(rows: Sequence[TrialRow], factor: Sequence[str], figure: str, unit: Unit) -> Noise:
    """Of a factor's levels over several seeds, each averaged over the company that all levels have at every seed."""
    found: dict[str, dict[tuple[Any, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if figure in row.figures:
            company = repr([(key, value) for key, value in sorted(row.swept.items()) if key not in factor])
            found[repr(level_of(row, factor))][unit(row), company].append(float(row.figures[figure]))
    keys = {key for cells in found.values() for key in cells}
    if len({seed for seed, _ in keys}) < 2 or any(set(cells) != keys for cells in found.values()):
        return Noise()
    seeds = sorted({seed for seed, _ in keys}, key=repr)
    return _scatter([[_mean(_mean(cells[key]) for key in keys if key[0] == seed) for seed in seeds] for cells in found.values()])


def _scatter(lines: Sequence[Sequence[float]]) -> Noise:
    """What is left of a table when its lines' and columns' means are taken off."""
    table = np.array(lines)
    if table.ndim < 2 or min(table.shape) < 2:
        return Noise()
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
    df = (table.shape[0] - 1) * (table.shape[1] - 1)
    return Noise(float(np.square(rest).sum()) / df, df)


def _gap(sides: tuple[Sequence[TrialRow], Sequence[TrialRow]], figure: str, by_prompt: ByPrompt) -> dict[str, float]:
    """Second minus first level, of prompts that all trials of a pair were asked."""
    first, second = ([by_prompt(row.trial, figure) for row in side] for side in sides)
    shared = [prompt for prompt in first[0] if all(prompt in values for values in (*first, *second))]
    if 2 * len(shared) <= max(len(values) for values in (*first, *second)):
        return {}
    return {prompt: _mean(one[prompt] for one in second) - _mean(one[prompt] for one in first) for prompt in shared}


def _newcombe(one: tuple[float, float, float], other: tuple[float, float, float]) -> tuple[float, float]:
    """How far below and above the difference its interval reaches (Newcombe, 1998)."""
    (first, first_low, first_high), (second, second_low, second_high) = one, other
    return math.hypot(second - second_low, first_high - first), math.hypot(second_high - second, first - first_low)


def _rate(rows: Sequence[TrialRow], figure: str) -> tuple[float, float, float]:
    """Mean value, low and high of some trials."""
    value, low, high = (_mean(side) for side in zip(*(ends(row.figures, figure) for row in rows), strict=True))
    return value, low, high


def ends(figures: Mapping[str, Any], name: str) -> tuple[float, float, float]:
    """A rate and the ends of its interval over prompts; the rate itself where it has none.

    An interval without width, of an earlier version, says that all n prompts gave the same. A share of up to z² / (n + z²) of all
    prompts may still differ (Wilson's end at 0), each by no more than the distance to 0 or 1.
    """
    value = float(figures[name])
    low, high = (float(figures.get(f"{name}_{end}", value)) for end in ("low", "high"))
    n, z = figures.get(f"{name}_n"), float(normal_point(ALPHA))
    if low == high and n and 0 <= value <= 1:
        other = z * z / (n + z * z)
        return value, value * (1 - other), value + (1 - value) * other
    return value, low, high


def _chance(difference: float, error: float, df: float) -> float:
    """Of a difference so large or larger where there is none; 0 where the error isn't known, so that others decide."""
    return float(t_share(abs(difference) / error, df)) if error > 0 else float(difference == 0)


def _mean(values: Any) -> float:
    values = list(values)
    return float(sum(values)) / len(values)
