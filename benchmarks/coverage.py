"""How often raysafe's 95 % intervals hold the truth, simulated: the tables of docs/statistics.md.

python benchmarks/coverage.py                  # all tables as Markdown, 20,000 draws a cell: about a minute on one core
python benchmarks/coverage.py --draws 2000
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import binom, norm

from raysafe.evaluation.intervals import Z, crossed_ends, mean_interval, pooled, wilson, wilson_ends

PROMPTS = 32
SEEDS = (1, 2, 3, 4, 5)
PREFIXES = 8
"""Variants of an attack that are averaged by prompt, as `asr_prefill`'s k are."""
WINDOW = (0.93, 0.98)


@dataclass(frozen=True)
class World:
    """Answers of seeds to prompts: yes where rate's probit + prompt + seed + an answer's own normal(0, 1) is above 0.

    rate: of all prompts and seeds. prompts: standard deviation of prompts, alike for all seeds (of an answer's own: 1). seeds: of
    seeds, as a share of that of prompts and answers together: at .25 a rate of .5 is .4 or .6 at a standard deviation's distance.
    parts: attacks that a prompt is put to, whose prompt effects correlate by a half. A single seed is its own target.
    """

    rate: float
    prompts: float = 0.0
    seeds: float = 0.0
    parts: int = 1

    def draw(self, random: np.random.Generator, seeds: int, draws: int, n: int = PROMPTS) -> np.ndarray:
        """draws × seeds × n values, each the mean over parts."""
        together = np.hypot(1.0, self.prompts)
        of_seed = self.seeds * together if seeds > 1 else 0.0
        shift = random.normal(size=(draws, seeds, 1, 1)) * of_seed
        own, common = random.normal(size=(draws, 1, n, self.parts)), random.normal(size=(draws, 1, n, 1))
        of_prompt = self.prompts * (own if self.parts == 1 else np.sqrt(0.5) * (own + common))
        level = norm.ppf(self.rate) * np.hypot(together, of_seed)
        return (level + shift + of_prompt + random.normal(size=(draws, seeds, n, self.parts)) > 0).mean(3)


def held(ends: tuple[np.ndarray, np.ndarray], truth: float) -> float:
    """Share of intervals that hold the truth, up to rounding."""
    low, high = ends
    return float(np.mean((low <= truth + 1e-9) & (truth <= high + 1e-9)))


def over_seeds(world: World, seeds: int, draws: int, seed: int = 0) -> float:
    """Coverage of `crossed`; of a single seed it is that of `clustered`."""
    return held(crossed_ends(world.draw(np.random.default_rng(seed), seeds, draws)), world.rate)


def from_summaries(world: World, seeds: int, draws: int) -> float:
    """Coverage of `pooled`, which knows each seed's rate and interval alone."""
    tables = world.draw(np.random.default_rng(0), seeds, draws)
    rates = [pooled([wilson(hits, PROMPTS) for hits in table.sum(1)]) for table in tables]
    return held((np.array([rate.low for rate in rates]), np.array([rate.high for rate in rates])), world.rate)


def percentile_bootstrap(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of yes-or-no values, draws × n, with as many resamples as one likes: quantiles of a binomial distribution."""
    n, share = values.shape[-1], values.mean(-1)
    return binom.ppf(0.025, n, share) / n, binom.ppf(0.975, n, share) / n


Sample = Callable[[np.random.Generator, int, int], np.ndarray]
"""(random, draws, n) to draws × n values."""


def yes_or_no(rate: float) -> Sample:
    return lambda random, draws, n: (random.random((draws, n)) < rate).astype(float)


def wins(lost: float, tied: float) -> Sample:
    """Win rates' values: 0, 1/2 or 1."""
    return lambda random, draws, n: random.choice([0.0, 0.5, 1.0], p=[lost, tied, 1 - lost - tied], size=(draws, n))


def by_prefix(level: float, prompts: float) -> Sample:
    """A prompt's mean over variants; its mean is norm.cdf(level / hypot(1, prompts))."""

    def sample(random: np.random.Generator, draws: int, n: int) -> np.ndarray:
        prompt = random.normal(level, prompts, size=(draws, n, 1))
        return (prompt + random.normal(size=(draws, n, PREFIXES)) > 0).mean(2)

    return sample


def shares() -> dict[str, tuple[Sample, float]]:
    """Values in 0 to 1 of one seed, with their mean."""
    found: dict[str, tuple[Sample, float]] = {
        "win rate: lost .25, tied .50": (wins(0.25, 0.5), 0.5),
        "win rate: lost .10, tied .20": (wins(0.1, 0.2), 0.8),
        "win rate: lost .45, tied .10": (wins(0.45, 0.1), 0.5),
        "win rate: lost .05, tied .90": (wins(0.05, 0.9), 0.5),
    }
    for level, prompts in ((0.0, 1.0), (0.0, 3.0), (-2.5, 1.0), (-4.0, 2.0)):
        mean = float(norm.cdf(level / np.hypot(1, prompts)))
        found[f"mean of {PREFIXES} prefixes, rate {mean:.2f}, prompts {prompts:g}"] = (by_prefix(level, prompts), mean)
    return found


def of_shares(sample: Sample, mean: float, n: int, draws: int, seed: int = 0) -> float:
    """Coverage of `clustered`: the same formula as `crossed` of one seed."""
    return held(crossed_ends(sample(np.random.default_rng(seed), draws, n)[:, None, :]), mean)


def unbounded() -> dict[str, tuple[Sample, float]]:
    """Values of any size, with their mean."""
    return {
        "normal": (lambda random, draws, n: random.normal(1.0, 2.0, (draws, n)), 1.0),
        "half the prompts at −2, half at 3": (lambda random, draws, n: random.choice([-2.0, 3.0], size=(draws, n)), 0.5),
        "exponential": (lambda random, draws, n: random.exponential(1.0, (draws, n)), 1.0),
        "log-normal, σ = 1": (lambda random, draws, n: random.lognormal(0.0, 1.0, (draws, n)), float(np.exp(0.5))),
    }


def of_means(sample: Sample, mean: float, n: int, draws: int, seed: int = 0) -> float:
    """Coverage of `mean_interval`."""
    rates = [mean_interval(values) for values in sample(np.random.default_rng(seed), draws, n)]
    return held((np.array([rate.low for rate in rates]), np.array([rate.high for rate in rates])), mean)


def far_end(n: int) -> tuple[float, float]:
    """Of prompts that all gave 0: the interval's upper end, and how often prompts of such a rate all give 0."""
    _, high = wilson_ends(0.0, n)
    return float(high), float((1 - high) ** n)


def at_far_end(n: int, draws: int, seed: int = 0) -> float:
    """Coverage at a true rate of that end."""
    high, _ = far_end(n)
    return held(crossed_ends(yes_or_no(high)(np.random.default_rng(seed), draws, n)[:, None, :]), high)


def told(share: float) -> str:
    """`.953`; a star where it lies outside the window."""
    text = f"{share:.3f}".removeprefix("0")
    return text if WINDOW[0] <= share <= WINDOW[1] else f"{text}\\*"


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def one_seed(draws: int) -> str:
    head = ["yes or no, true rate", *(f"{name}, n = {n}" for n in (PROMPTS, 150) for name in ("Wilson", "bootstrap"))]
    lines = []
    for rate in (0.0, 0.02, 0.1, 0.5, 0.9, 1.0):
        cells = []
        for n in (PROMPTS, 150):
            values = yes_or_no(rate)(np.random.default_rng(0), draws, n)
            cells += [told(held(crossed_ends(values[:, None, :]), rate)), told(held(percentile_bootstrap(values), rate))]
        lines.append([f"{rate:g}", *cells])
    return table(head, lines)


def clusters(draws: int) -> str:
    sizes = (16, PROMPTS, 150)
    head = ["values of a prompt", *(f"n = {n}" for n in sizes)]
    lines = [[name, *(told(of_shares(*case, n, draws)) for n in sizes)] for name, case in shares().items()]
    few = min(draws, 4000)
    lines += [[f"unbounded: {name}", *(told(of_means(*case, n, few)) for n in sizes)] for name, case in unbounded().items()]
    return table(head, lines)


GRID = [World(rate, prompts, seeds) for rate in (0.02, 0.1, 0.5) for prompts in (0, 1, 3) for seeds in (0, 0.1, 0.25, 0.5, 1)]
FEW = [World(rate, prompts, seeds) for rate in (0.02, 0.5) for prompts in (0, 1, 3) for seeds in (0, 0.25, 0.5)]


def seeds_table(worlds: Iterable[World], draws: int, one: Callable[[World, int, int], float] = over_seeds) -> str:
    head = ["true rate", "prompts", "seeds", *(f"{seeds} seed{'s' * (seeds > 1)}" for seeds in SEEDS)]
    lines = [
        [f"{world.rate:g}", f"{world.prompts:g}", f"{world.seeds:g}", *(told(one(world, seeds, draws)) for seeds in SEEDS)]
        for world in worlds
    ]
    return table(head, lines)


def main(draws: int) -> None:
    print("### One seed: a rate\n", one_seed(draws), sep="\n")
    print("### One seed: means over prompts\n", clusters(draws), sep="\n")
    lines = [[str(n), f"{far_end(n)[0]:.3f}", f"{far_end(n)[1]:.3f}", told(at_far_end(n, draws))] for n in (16, PROMPTS, 150)]
    head = ["n prompts, all 0", "far end", "a true rate there shows that", "coverage there"]
    print("### Rates of 0 and 1\n", table(head, lines), sep="\n")
    print(f"### Over seeds, {PROMPTS} prompts\n", seeds_table(GRID, draws), sep="\n")
    twice = [replace(world, parts=2) for world in FEW]
    print("### Over seeds, the mean of two attacks\n", seeds_table(twice, draws), sep="\n")
    print("### Over seeds, from summaries alone\n", seeds_table(FEW, min(draws, 1000), from_summaries), sep="\n")
    print(f"z = {Z:.4f}, {draws} draws a cell")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--draws", type=int, default=20_000)
    main(parser.parse_args().draws)
