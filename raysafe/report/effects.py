"""What a swept setting did to a figure: differences between its levels, each with an interval that holds what can be held.

Trials are paired: two levels are compared within the same other settings and the same seeds, and where it is known what single
prompts gave, prompts are pairs, too. `docs/statistics.md` has the formulas, and what they assume.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from raysafe.report.differences import ALPHA, Compared, Difference, noise_of, noise_of_levels
from raysafe.report.figures import is_share
from raysafe.report.levels import Design, Level, design_of, grouped
from raysafe.report.prompts import ByPrompt, no_prompts
from raysafe.report.replicates import cluster_of, distinct
from raysafe.report.summary import TrialRow


@dataclass(frozen=True)
class Effect:
    """What going from one level of a factor to another did to a figure."""

    factor: tuple[str, ...]
    """Dotted names: one setting, or several that were only changed together."""
    figure: str
    levels: tuple[Level, Level]
    means: tuple[float, float]
    low: float
    """The difference's interval, of all comparisons together at 95 % (Bonferroni)."""
    high: float
    seeds: int
    pairs: int
    """Pairs of trials behind it."""
    prompts: int
    """Of the trial that was asked the fewest; 0 if it isn't known."""
    shown: bool
    """Whether Holm's test, of all comparisons together at 5 %, finds a difference."""
    visible: float
    """A true difference of this size would have been shown with a chance of 80 %."""
    paired: bool
    """Whether prompts stood as pairs."""

    @property
    def difference(self) -> float:
        """Second level minus first."""
        return self.means[1] - self.means[0]

    @property
    def order(self) -> tuple[bool, bool, float]:
        """What shows something is told first, rates before nats (whose size says little beside theirs), the largest first."""
        return not self.shown, not is_share(self.figure), -abs(self.difference)


@dataclass(frozen=True)
class Effects:
    """All comparisons of a sweep. `together`: settings that were never changed one by one; `used`: the trials behind it all;
    `repeated`: those that repeat one of them, and so were left out."""

    effects: tuple[Effect, ...]
    factors: tuple[tuple[str, ...], ...]
    together: tuple[str, ...]
    used: tuple[TrialRow, ...]
    repeated: tuple[TrialRow, ...] = ()

    @cached_property
    def by_factor(self) -> Mapping[tuple[str, ...], list[Effect]]:
        """Comparisons of each factor, those that show something first, then by size."""
        ordered = sorted(self.effects, key=lambda effect: effect.order)
        return {factor: [effect for effect in ordered if effect.factor == factor] for factor in self.factors}


def effects_of(rows: Sequence[TrialRow], figures: Sequence[str], by_prompt: ByPrompt = no_prompts) -> Effects:
    """Compare every two levels of every swept setting by every figure.

    Finished trials count; stopped ones only where nothing can be compared without them.
    """
    used, repeated, design = _design(rows)
    unit = cluster_of(used)
    noise = {figure: noise_of(used, figure, unit) for figure in figures}
    factors = tuple(dict.fromkeys(pairs.factor for pairs in design.pairs))
    levels = {(factor, figure): noise_of_levels(used, factor, figure, unit) for factor in factors for figure in figures}
    for row in used if design.pairs else ():
        for figure in figures:
            by_prompt(row.trial, figure)  # all figures of a trial while its table is open
    asked = [(pairs.of(figure), figure) for pairs in design.pairs for figure in figures]
    wanted = [
        Compared(pairs, figure, is_share(figure), unit, (noise[figure], levels[pairs.factor, figure]))
        for pairs, figure in asked
        if pairs.matched
    ]
    found = [one.difference(by_prompt, ALPHA / len(wanted)) for one in wanted]
    shown = holm([one.p for one in found])
    effects = tuple(_effect(*one) for one in zip(wanted, found, shown, strict=True))
    return Effects(effects, factors, design.together, tuple(used), tuple(repeated))


def _design(rows: Sequence[TrialRow]) -> tuple[list[TrialRow], list[TrialRow], Design]:
    for statuses in (("FINISHED",), ("FINISHED", "STOPPED")):
        kept, repeated = distinct([row for row in rows if row.status in statuses])
        used = grouped(kept)
        design = design_of(used)
        if design.pairs:
            break
    return used, repeated, design


def holm(chances: Sequence[float], alpha: float = ALPHA) -> list[bool]:
    """Which of several hypotheses fall, so that with a chance of 1 - alpha no true one does (Holm, 1979): the k-th smallest p of
    m must not exceed alpha / (m - k + 1), nor any smaller one its own."""
    shown = [False] * len(chances)
    for rank, place in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        if chances[place] > alpha / (len(chances) - rank):
            break
        shown[place] = True
    return shown


def _effect(compared: Compared, found: Difference, shown: bool) -> Effect:
    """An interval that reaches over 0 where Holm's test, which is finer, has found a difference, ends there."""
    pairs, figure = compared.pairs, compared.figure
    low, high, difference = found.low, found.high, found.means[1] - found.means[0]
    if shown:
        low, high = (max(0.0, low), high) if difference > 0 else (low, min(0.0, high))
    sides = [row for both in pairs.matched.values() for side in both for row in side]
    prompts = int(min(row.figures.get(f"{figure}_n", 0) for row in sides))
    return Effect(
        factor=pairs.factor,
        figure=figure,
        levels=pairs.levels,
        means=found.means,
        low=low,
        high=high,
        seeds=found.seeds,
        pairs=len(pairs.matched),
        prompts=prompts,
        shown=shown,
        visible=found.visible,
        paired=found.paired,
    )
