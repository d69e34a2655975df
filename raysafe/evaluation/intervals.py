"""95 % intervals of rates and means: every one that raysafe tells comes from here, and none is without width.

docs/statistics.md has the formulas, what they assume, and how often they hold the truth (benchmarks/coverage.py). What takes a
table also takes many, along leading axes, so that what is simulated is what is used.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from raysafe.evaluation.metrics import Rate

INTERVALS = "2"
"""Which formulas these are; part of the key of verdicts, so that scores of older ones are worked out anew."""
Z = 1.959963984540054
"""The normal distribution's 97.5 % point."""
ALONE = 9.68
"""x -+ 9.68 |x| holds the mean of any normal distribution with 95 %, from one value x (Wall, Boen and Tweedie, 2001)."""
ALIKE = 0.7
"""Correlation of two seeds' answers to a prompt, where only their rates are known: that of prompts which mostly decide."""
Ends = tuple[np.ndarray, np.ndarray]


def wilson(successes: float, n: int) -> Rate:
    """One rate of n independent yes-or-no outcomes (Wilson, 1927): unlike the plain interval it has width at 0 and 1."""
    if n <= 0:
        raise ValueError(f"`n > 0` must hold, but got {n}")
    return _rate(successes / n, wilson_ends(successes / n, n), n)


def wilson_ends(share: Any, n: Any, z: Any = Z) -> Ends:
    """The ends of Wilson's interval of a share that is as sure as one of n independent outcomes; n need not be whole."""
    share, n = np.asarray(share, dtype=float), np.asarray(n, dtype=float)
    seen = n / (n + z * z)
    centre = seen * share + (1 - seen) / 2
    half = np.sqrt(z * z * seen * np.maximum(0.0, share * (1 - share)) / (n + z * z) + ((1 - seen) / 2) ** 2)
    return np.maximum(0.0, np.minimum(share, centre - half)), np.minimum(1.0, np.maximum(share, centre + half))


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
    return _rate(share, wilson_ends(share, n), len(weights))


def effective(share: Any, variance: Any, n: Any, seeds: int = 1) -> np.ndarray:
    """How many yes-or-no prompts are as sure of a share as n prompts, each asked of some seeds, whose mean has this variance.

    Yes-or-no prompts have share (1 - share) / n. Wilson's z² prompts that nobody has seen are taken to vary as those seen, but
    no less than if seeds answered them yes or no each by itself: n prompts that all gave the same are no certainty, a share of
    z² / (n + z²) may yet differ.
    """
    share, n = np.asarray(share, dtype=float), np.asarray(n, dtype=float)
    binary = np.maximum(0.0, share * (1 - share)) / n
    known = binary > 1e-15
    ratio = np.where(known, variance / np.where(known, binary, 1.0), 1.0)
    return n * (n + Z * Z) / (n * ratio + Z * Z * np.maximum(ratio, 1 / seeds))


def mean_interval(values: Sequence[float]) -> Rate:
    """Mean of unbounded values, one a prompt, with Student's t-interval.

    One value, or values that are all alike, say nothing of their spread. One is held to be normal (`ALONE`). Of n that are alike
    a share of z² / (n + z²) may differ, by as much as they differ from 0, or by 1: a convention. Raises ValueError if empty.
    """
    if not len(values):
        raise ValueError("`values`: a mean needs a value, but got none")
    table, n = np.asarray(values, dtype=float), len(values)
    mean, spread = float(table.mean()), float(table.std(ddof=1)) if n > 1 else 0.0
    half = float(t_point(n - 1)) * spread / math.sqrt(n) if spread > 0 else _unseen(mean, n)
    return Rate(mean, mean - half, mean + half, n)


def _unseen(mean: float, n: int) -> float:
    return max(abs(mean), 1.0) * (ALONE if n == 1 else Z * Z / (n + Z * Z))


@dataclass(frozen=True)
class MeanSquares:
    """The analysis of variance of a table S × n, seeds by prompts, without replication; one number a table.

    prompts, seeds, residual: mean squares. shape: S and n. nested: whether every seed was asked prompts of its own.
    """

    prompts: np.ndarray
    seeds: np.ndarray
    residual: np.ndarray
    shape: tuple[int, float]
    nested: bool = False

    @property
    def of_prompts(self) -> np.ndarray:
        """The variance of the mean over both that prompts bring, and answers by themselves."""
        return self.prompts / math.prod(self.shape)

    @property
    def of_seeds(self) -> np.ndarray:
        """What seeds add to it; nothing where they differ less than their prompts' answers let expect."""
        return np.maximum(0.0, self.seeds - self.residual) / math.prod(self.shape)

    def df(self, variance: Any, of_prompts: Any = 0.0) -> np.ndarray:
        """Degrees of freedom of an estimated variance of the mean (Satterthwaite, 1946), at least S - 1. `of_prompts`: the part
        of it that is known from n prompts, where that is no binomial one, which its share gives."""
        seeds, n = self.shape
        unsure = (self.seeds / math.prod(self.shape)) ** 2 / (seeds - 1) + np.square(of_prompts) / max(1, n - 1)
        return np.maximum(seeds - 1, np.square(variance) / np.maximum(unsure, 1e-300))


def mean_squares(table: np.ndarray) -> MeanSquares:
    """Of a table S × n with S >= 2 and n >= 2, or of many along leading axes."""
    seeds, n = table.shape[-2:]
    mean = table.mean((-2, -1), keepdims=True)
    of_prompt, of_seed = table.mean(-2, keepdims=True), table.mean(-1, keepdims=True)
    rest = np.square(table - of_prompt - of_seed + mean).sum((-2, -1)) / ((seeds - 1) * (n - 1))
    by_prompt = seeds * np.square(of_prompt - mean).sum((-2, -1)) / (n - 1)
    by_seed = n * np.square(of_seed - mean).sum((-2, -1)) / (seeds - 1)
    return MeanSquares(by_prompt, by_seed, rest, (seeds, n))


def components(table: np.ndarray) -> tuple[float, float, float]:
    """Variance of prompts, of seeds and of what is left, of single values of a table S × n (S, n >= 2); none below 0."""
    squares = mean_squares(table)
    seeds, n = squares.shape
    of_prompts, of_seeds = (squares.prompts - squares.residual) / seeds, (squares.seeds - squares.residual) / n
    return max(0.0, float(of_prompts)), max(0.0, float(of_seeds)), float(squares.residual)


def crossed(table: np.ndarray) -> Rate:
    """Mean over seeds and prompts of a table S × n of values in [0, 1] where every seed was asked the same prompts.

    Both are drawn. Wilson's interval at an effective number of prompts, whose variance is V = (MS_prompts + max(0, MS_seeds -
    MS_residual)) / (n S), with z widened to Student's point at V's degrees of freedom. Of one seed it is that of its prompts:
    nothing can be known of other seeds. Raises ValueError without a value.
    """
    if table.ndim != 2 or not table.size:
        raise ValueError(f"`table`: takes S × n values, but got the shape {table.shape}")
    return _rate(float(table.mean()), crossed_ends(table), table.shape[1])


def crossed_ends(table: np.ndarray) -> Ends:
    """The ends of `crossed`, of one table or of many along leading axes."""
    seeds, n = table.shape[-2:]
    share = np.clip(table.mean((-2, -1)), 0.0, 1.0)
    if seeds == 1 or n == 1:
        spread = np.square(table.mean(-2) - share[..., None]).sum(-1) / n**2
        return wilson_ends(share, effective(share, spread, n))
    return _ends(share, mean_squares(table))


def _ends(share: np.ndarray, squares: MeanSquares) -> Ends:
    """Wilson's interval of a mean over several seeds."""
    seeds, n = squares.shape
    asked, answers = (seeds * n, 1) if squares.nested else (n, seeds)
    alone = effective(share, squares.of_prompts * (1 - 1 / n), asked, answers)
    return widened_ends(share, alone, squares.of_seeds, squares.df)


def widened_ends(share: Any, alone: Any, of_seeds: Any, df: Callable[[np.ndarray], Any]) -> Ends:
    """Wilson's interval of a share that is as sure as one of `alone` prompts but for seeds, which add `of_seeds` to its variance;
    z is widened to Student's point at the degrees of freedom that `df` gives that variance."""
    binary = np.maximum(0.0, share * (1 - share))
    variance = np.asarray(binary / alone + np.where(binary > 0, of_seeds, 0.0))
    known = variance > 1e-15
    widened = np.where(known, t_point(df(np.where(known, variance, 1.0))) / Z, 1.0)
    return wilson_ends(share, np.where(known, binary / np.where(known, variance, 1.0), alone) / widened**2)


def over_seeds(by_seed: Sequence[Mapping[str, float]], share: bool = True) -> Rate:
    """Mean over seeds of their means over prompts: one mapping a seed, from prompt to value.

    Prompts that all seeds were asked make a table (`crossed`); where half or fewer are shared, each seed has prompts of its own.
    share: whether values lie in [0, 1]; others have a t-interval. Raises ValueError where a seed has no value.
    """
    if not by_seed or not all(by_seed):
        raise ValueError("`by_seed`: every seed needs a value, but got none")
    if len(by_seed) == 1:
        (values,) = by_seed
        return clustered([values]) if share else mean_interval(list(values.values()))
    value = float(np.mean([np.mean(list(values.values())) for values in by_seed]))
    squares = squares_of(by_seed)
    asked = len(set().union(*by_seed))
    if share:
        return _rate(value, _ends(np.asarray(min(1.0, max(0.0, value))), squares), asked)
    variance = squares.of_prompts + squares.of_seeds
    half = float(t_point(squares.df(variance, squares.of_prompts)) * np.sqrt(variance)) or _unseen(value, asked)
    return Rate(value, value - half, value + half, asked)


def squares_of(by_seed: Sequence[Mapping[str, float]]) -> MeanSquares:
    """Of prompts that all seeds share, or of each seed's own."""
    shared = [prompt for prompt in by_seed[0] if all(prompt in values for values in by_seed)]
    n = min(map(len, by_seed))
    if len(shared) > max(1, n / 2):
        return mean_squares(np.array([[values[prompt] for prompt in shared] for values in by_seed]))
    means = [float(np.mean(list(values.values()))) for values in by_seed]
    within = sum(sum((value - mean) ** 2 for value in values.values()) for values, mean in zip(by_seed, means, strict=True))
    own = np.asarray(within / max(1, sum(map(len, by_seed)) - len(by_seed)))
    return MeanSquares(own, np.asarray(n * np.var(means, ddof=1)), own, (len(by_seed), n), nested=True)


def pooled(rates: Sequence[Rate], share: bool = True) -> Rate:
    """Mean over seeds where only their rates and intervals are known: as `crossed`, with the variance over prompts taken from
    the intervals, and seeds taken to answer a prompt much alike (`ALIKE`). Raises ValueError without a rate."""
    if not rates:
        raise ValueError("`rates`: a mean needs a rate, but got none")
    if len(rates) == 1:
        return rates[0]
    seeds, values = len(rates), np.array([rate.value for rate in rates])
    value, least = float(values.mean()), min(rate.n for rate in rates)
    between = np.asarray(values.var(ddof=1))
    if share:
        mean = np.asarray(min(1.0, max(0.0, value)))
        n = max(2.0, 1 / float(np.mean([1 / _prompts_behind(rate) for rate in rates])))
        own = mean * (1 - mean) * n / (n - 1)
        squares = MeanSquares(own * (1 + ALIKE * (seeds - 1)), n * between, own * (1 - ALIKE), (seeds, n))
        return _rate(value, _ends(mean, squares), least)
    own = np.asarray(np.mean([((rate.high - rate.low) / 2 / t_point(max(1, rate.n - 1))) ** 2 for rate in rates]))
    squares = MeanSquares(own * (1 + ALIKE * (seeds - 1)), between, own * (1 - ALIKE), (seeds, 1))
    variance = squares.of_prompts + squares.of_seeds
    half = float(t_point(squares.df(variance)) * np.sqrt(variance)) or _unseen(value, max(2, least))
    return Rate(value, value - half, value + half, least)


def _prompts_behind(rate: Rate) -> float:
    """The n at which Wilson's interval has these ends: their product is x² n / (n + z²), and that of the complements likewise.
    One without width, as older versions of raysafe told, is as sure as its prompts."""
    value, low, high = (rate.value, rate.low, rate.high) if rate.value >= 0.5 else (1 - rate.value, 1 - rate.high, 1 - rate.low)
    extra = value * value / (low * high) - 1 if low * high > 0 else math.inf
    return min(max(Z * Z / extra, 1.0), 1e9) if extra > 1e-9 else float(max(1, rate.n))


def t_point(df: Any, alpha: float = 0.05) -> np.ndarray:
    """t that |T| exceeds with probability alpha, 0 < alpha < 1; df > 0 need not be whole."""
    from scipy.special import stdtrit  # a command line that tells no interval does without

    return np.asarray(stdtrit(np.minimum(df, 1e9), 1 - alpha / 2))


def t_share(t: Any, df: Any) -> np.ndarray:
    """The chance that |T| exceeds t >= 0."""
    from scipy.special import stdtr

    return np.asarray(2 * stdtr(np.minimum(df, 1e9), -np.abs(t)))


def normal_point(alpha: float) -> float:
    """z that |Z| exceeds with probability alpha, 0 < alpha < 1."""
    return NormalDist().inv_cdf(1 - alpha / 2)


def _rate(value: float, ends: Ends, n: int) -> Rate:
    return Rate(value, float(ends[0]), float(ends[1]), n)
