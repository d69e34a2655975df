"""95 % intervals of rates and means: every one that raysafe tells comes from here, and none is without width.

docs/statistics.md has the formulas, what they assume, and how often they hold the truth (benchmarks/coverage.py).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from raysafe.evaluation.metrics import Rate

INTERVALS = "2"
"""Which formulas these are; part of the key of verdicts, so that scores of older ones are worked out anew."""
Z = 1.959963984540054
"""The normal distribution's 97.5 % point."""
ALONE = 9.68
"""x -+ 9.68 |x| holds the mean of any normal distribution with 95 %, from one value x (Wall, Boen and Tweedie, 2001)."""


def wilson(successes: float, n: int) -> Rate:
    """One rate of n independent yes-or-no outcomes (Wilson, 1927): unlike the plain interval it has width at 0 and 1."""
    if n <= 0:
        raise ValueError(f"`n > 0` must hold, but got {n}")
    share = successes / n
    return Rate(share, *wilson_ends(share, n), n)


def wilson_ends(share: float, n: float, z: float = Z) -> tuple[float, float]:
    """The ends of Wilson's interval of a share that is as sure as one of n independent outcomes; n need not be whole."""
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def clustered(values_by_part: Sequence[Mapping[Any, float]]) -> Rate:
    """Mean over parts of each part's mean over prompts; a prompt's values stay together, whatever parts they are in.

    values_by_part: one mapping a part (an attack suite), from prompt to its value in [0, 1]. Wilson's interval at an effective
    number of prompts (Korn and Graubard, 1998): as many yes-or-no prompts as would make the mean as sure. Of yes-or-no values
    in one part it is Wilson's itself. Raises ValueError where a part is empty.
    """
    if not values_by_part or not all(values_by_part):
        raise ValueError("`values_by_part`: every part needs a prompt, but got an empty one")
    share, errors, weights = 0.0, dict[Any, float](), dict[Any, float]()
    for part in values_by_part:
        mean, weight = sum(part.values()) / len(part), 1 / len(part) / len(values_by_part)
        share += mean / len(values_by_part)
        for prompt, value in part.items():
            errors[prompt] = errors.get(prompt, 0.0) + weight * (value - mean)
            weights[prompt] = weights.get(prompt, 0.0) + weight
    share = min(1.0, max(0.0, share))
    alike = 1 / sum(weight**2 for weight in weights.values())
    n = effective(share, sum(error**2 for error in errors.values()), alike)
    return Rate(share, *wilson_ends(share, n), len(weights))


def effective(share: float, variance: float, n: float) -> float:
    """How many yes-or-no prompts are as sure of a share as n prompts are whose mean has this variance.

    Yes-or-no prompts have share (1 - share) / n. Wilson's z² prompts that nobody has seen are taken to be such, so that n
    prompts which all gave the same are not taken for certainty: a share of z² / (n + z²) may yet differ.
    """
    binary = share * (1 - share) / n
    ratio = variance / binary if binary > 0 else 1.0
    return n * (n + Z * Z) / (n * ratio + Z * Z)


def mean_interval(values: Sequence[float]) -> Rate:
    """Mean of unbounded values, one a prompt, with Student's t-interval.

    One value, or values that are all alike, say nothing of their spread. One is held to be normal (`ALONE`). Of n that are alike
    a share of z² / (n + z²) may differ, by as much as they differ from 0, or by 1: a convention. Raises ValueError if empty.
    """
    if not values:
        raise ValueError("`values`: a mean needs a value, but got none")
    table, n = np.asarray(values, dtype=float), len(values)
    mean, spread = float(table.mean()), float(table.std(ddof=1)) if n > 1 else 0.0
    half = t_point(n - 1) * spread / math.sqrt(n) if spread > 0 else 0.0
    if half == 0:
        half = max(abs(mean), 1.0) * (ALONE if n == 1 else Z * Z / (n + Z * Z))
    return Rate(mean, mean - half, mean + half, n)


def t_point(df: float, alpha: float = 0.05) -> float:
    """t that |T| exceeds with probability alpha, 0 < alpha < 1; df > 0 need not be whole."""
    from scipy.special import stdtrit  # a command line that tells no interval does without

    return float(stdtrit(df, 1 - alpha / 2))
