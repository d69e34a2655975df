"""Which differences a planned sweep can show, told before it runs: the first step of Holm's test, with a power of 80 %."""

import math
from dataclasses import dataclass

from raysafe.config.trials import SweepConfig
from raysafe.evaluation.exam import Exam
from raysafe.report.differences import ALPHA, POWER
from raysafe.report.levels import design_of, grouped
from raysafe.report.replicates import cluster_of
from raysafe.report.summary import TrialRow

BASES = (0.5, 0.1)
"""Rates at which the answer is told: the one that varies most, and a small one."""
ALIKE = 0.5
"""Correlation of two trials' answers to the same prompt that is taken for granted."""
SCATTER = 0.1
"""Standard deviation of a rate between seeds, for the second line."""


@dataclass(frozen=True)
class PlannedPower:
    """n prompts, asked of trials of several seeds, and comparisons of all settings and figures."""

    prompts: int
    seeds: int
    comparisons: int

    def smallest(self, base: float, scatter: float = 0.0) -> float:
        """The true difference, from this rate, that the hardest step of the test shows with 80 %.

        A prompt's difference of two yes-or-no answers has the variance 2 base (1 - base) (1 - `ALIKE`); a seed's has 2 scatter²,
        known by S - 1 degrees of freedom at most (inf where nothing can be shown).
        """
        from raysafe.evaluation.intervals import normal_point, t_point

        alpha, of_power = ALPHA / max(1, self.comparisons), normal_point(2 * (1 - POWER))
        variance = 2 * base * (1 - base) * (1 - ALIKE) / (self.prompts * self.seeds)
        if not scatter:
            return float(normal_point(alpha) + of_power) * math.sqrt(variance)
        if self.seeds < 2:
            return math.inf
        point = float(t_point(self.seeds - 1, alpha))
        return (point + of_power) * math.sqrt(variance + 2 * scatter**2 / self.seeds)

    def lines(self) -> list[str]:
        """For the terminal; none where nothing is compared."""
        if not self.comparisons or not self.prompts:
            return []
        size = f"{self.prompts} prompts × {self.seeds} seed{'s' * (self.seeds > 1)}"
        told = ", ".join(f"{_of(self.smallest(base))} from a rate of {base:g}" for base in BASES)
        test = f"80 % power, Holm's first of {self.comparisons} comparisons at 5 %"
        how = f"{test}, prompts as pairs whose answers correlate by {ALIKE:g}"
        first = f"can show: {size}, one trial at either level, a difference of {told} ({how})"
        if self.seeds == 1:
            return [first, "          with one seed, what a setting does can't be told from the seed's luck"]
        wide = self.smallest(BASES[0], SCATTER)
        return [first, f"          where seeds scatter by {SCATTER:g} beside that, from a rate of {BASES[0]:g}: {_of(wide)}"]


def _of(size: float) -> str:
    return f"{size:.2f}" if size < 1 else "1 or more (none can be shown)"


def planned_power(sweep: SweepConfig, exam: Exam) -> PlannedPower:
    """Of a sweep's trials, and of the evaluation of its first one; the prompts are those of the suite with the fewest."""
    rows = [
        TrialRow(plan.name, "FINISHED", plan.config.seed, plan.swept, seed_world=world, seed_ranking=ranking)
        for plan in sweep.trials
        for world, ranking in [(plan.axes.get("seed_world"), plan.axes.get("seed_ranking"))]
    ]
    pairs = design_of(grouped(rows)).pairs
    unit = cluster_of(rows)
    seeds = [len({unit(sides[0][0]) for sides in found.matched.values()}) for found in pairs]
    prompts = min((len(suite.prompts()) for suite in exam.suites), default=0)
    return PlannedPower(prompts, min(seeds, default=1), len(pairs) * figures_planned(exam))


def figures_planned(exam: Exam) -> int:
    """Rates that an evaluation gives: win rate, safety score, coherence, one a suite, and one a reading."""
    return 3 + len({suite.name for suite in exam.suites}) + len(exam.probes)
