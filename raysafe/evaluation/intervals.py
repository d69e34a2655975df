"""95 % intervals of rates."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from raysafe.evaluation.metrics import Rate

Z = 1.959963984540054
"""The normal distribution's 97.5 % point."""


def wilson(successes: float, n: int) -> Rate:
    """One rate of n independent yes-or-no outcomes (Wilson, 1927): unlike the plain interval it has width at 0 and 1."""
    if n <= 0:
        raise ValueError(f"`n > 0` must hold, but got {n}")
    share = successes / n
    centre = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return Rate(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)), n)


def bootstrap(values_by_part: Sequence[Mapping[int, float]], seed: int = 0, draws: int = 2000) -> Rate:
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
