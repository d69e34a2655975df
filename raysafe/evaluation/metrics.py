"""Rates with 95 % intervals."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Z = 1.959963984540054
"""The normal distribution's 97.5 % point."""


@dataclass(frozen=True)
class Rate:
    """A share with its 95 % interval and the number n of prompts behind it."""

    value: float
    low: float
    high: float
    n: int


def rates_of(plain: Mapping[str, Mapping[str, float]]) -> dict[str, Rate]:
    """Rates from plain values, as scores are kept in files."""
    return {name: Rate(**rate) for name, rate in plain.items()}  # type: ignore[arg-type]


def flat_rates(rates: Mapping[str, Rate], with_n: bool = False) -> dict[str, float]:
    """name, name_low and name_high of every rate, and name_n if asked for."""
    row: dict[str, float] = {}
    for name, rate in rates.items():
        row |= {name: rate.value, f"{name}_low": rate.low, f"{name}_high": rate.high}
        row |= {f"{name}_n": rate.n} if with_n else {}
    return row


def wilson(successes: float, n: int) -> Rate:
    """One rate of n independent yes-or-no outcomes (Wilson, 1927): unlike the plain interval it has width at 0 and 1."""
    if n <= 0:
        raise ValueError(f"`n > 0` must hold, but got {n}")
    share = successes / n
    centre = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return Rate(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)), n)


def bootstrap(values_by_part: Sequence[dict[int, float]], seed: int = 0, draws: int = 2000) -> Rate:
    """Mean over parts of each part's mean over prompts, with the percentile interval of resampled prompts.

    values_by_part: one mapping a part (an attack suite), from prompt to its value in [0, 1]. Prompts are drawn with
    replacement over all parts at once, so that a prompt's values stay together.
    """
    prompts = sorted(set().union(*values_by_part))
    table = np.array([[part.get(prompt, np.nan) for prompt in prompts] for part in values_by_part])
    value = float(np.mean([np.nanmean(part) for part in table]))
    picks = np.random.default_rng(seed).integers(0, len(prompts), size=(draws, len(prompts)))
    known = ~np.isnan(table)
    filled = np.where(known, table, 0.0)
    sums = filled[:, picks].sum(axis=2)
    counts = known[:, picks].sum(axis=2)
    means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0).mean(axis=0)
    low, high = np.nanpercentile(means, [2.5, 97.5])
    return Rate(value, float(min(low, value)), float(max(high, value)), len(prompts))


def complement(rate: Rate) -> Rate:
    """1 - rate."""
    return Rate(1.0 - rate.value, 1.0 - rate.high, 1.0 - rate.low, rate.n)
