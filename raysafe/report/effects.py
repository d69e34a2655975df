"""What a swept setting did to a figure: differences between its levels, each with an interval that holds what can be held.

Trials are paired: two levels are compared within the same other settings and the same seed, so that what these do by themselves
drops out. `docs/report.md` has the formulas, and what they assume.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from raysafe.report.student import normal_point, t_point
from raysafe.report.summary import TrialRow, swept_keys

ALPHA = 0.05
"""The chance that any of a sweep's comparisons shows a difference where none has one."""
MOST_LEVELS = 12
"""Numbers of a setting that are compared one by one; of more, neighbours are taken together."""
GROUPS = 4
MOST_ASKED = 4
"""Seeds up to which the same prompts, asked again, tell more of the prompts."""
Level = tuple[Any, ...]
"""The values of a factor's settings."""


class Range(str):
    """A text for neighbouring numbers of a setting, such as `0.1 to 0.4`."""

    low: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Range":
        """The range of some numbers, in order."""
        text = cls(f"{values[0]:g} to {values[-1]:g}")
        text.low = float(values[0])
        return text


@dataclass(frozen=True)
class Effect:
    """What going from one level of a factor to another did to a figure."""

    factor: tuple[str, ...]
    """Dotted names: one setting, or several that were only changed together."""
    figure: str
    levels: tuple[Level, Level]
    means: tuple[float, float]
    low: float
    """The difference's interval, of all comparisons together at 95 %."""
    high: float
    seeds: int
    pairs: int
    """Pairs of trials behind it."""
    prompts: int
    """Of the trial that was asked the fewest; 0 if it isn't known."""

    @property
    def difference(self) -> float:
        """Second level minus first."""
        return self.means[1] - self.means[0]

    @property
    def shown(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0

    @property
    def visible(self) -> float:
        """A difference of this size would have been shown."""
        return max(self.difference - self.low, self.high - self.difference)


@dataclass(frozen=True)
class Effects:
    """All comparisons of a sweep. `together`: settings that were never changed one by one; `used`: the trials behind it all."""

    effects: tuple[Effect, ...]
    factors: tuple[tuple[str, ...], ...]
    together: tuple[str, ...]
    used: tuple[TrialRow, ...]

    @cached_property
    def by_factor(self) -> Mapping[tuple[str, ...], list[Effect]]:
        """Comparisons of each factor, those that show something first, then by size."""
        ordered = sorted(self.effects, key=lambda effect: (not effect.shown, -abs(effect.difference)))
        return {factor: [effect for effect in ordered if effect.factor == factor] for factor in self.factors}


@dataclass(frozen=True)
class _Pairs:
    """Two levels of a factor and the trials that stand against each other: (company, seed) to those of either level."""

    factor: tuple[str, ...]
    levels: tuple[Level, Level]
    matched: Mapping[tuple[Any, Any], tuple[Sequence[TrialRow], Sequence[TrialRow]]]

    def of(self, figure: str) -> "_Pairs":
        """Those whose trials have the figure."""
        kept = {}
        for key, sides in self.matched.items():
            known = [[row for row in side if figure in row.figures] for side in sides]
            if all(known):
                kept[key] = (known[0], known[1])
        return _Pairs(self.factor, self.levels, kept)


@dataclass(frozen=True)
class _Noise:
    """How far trials of one cell scatter over seeds once what a seed does to all cells is taken off."""

    variance: float = 0.0
    df: int = 0


def effects_of(rows: Sequence[TrialRow], figures: Sequence[str]) -> Effects:
    """Compare every two levels of every swept setting by every figure that is a rate in [0, 1].

    Finished trials count; stopped ones only where nothing can be compared without them.
    """
    for statuses in (("FINISHED",), ("FINISHED", "STOPPED")):
        used = _grouped([row for row in rows if row.status in statuses])
        keys = [key for key in swept_keys(used) if len({repr(row.swept.get(key)) for row in used}) > 1]
        alone = [pairs for key in keys for pairs in _pairs_of((key,), keys, used)]
        together = tuple(key for key in keys if (key,) not in {pairs.factor for pairs in alone})
        joint = list(_pairs_of(together, keys, used)) if len(together) > 1 else []
        if alone or joint:
            break
    wanted = [(pairs.of(figure), figure) for pairs in [*alone, *joint] for figure in figures]
    wanted = [(pairs, figure) for pairs, figure in wanted if pairs.matched]
    noise = {figure: _noise(used, figure) for figure in figures}
    alpha = ALPHA / max(1, len(wanted))
    found = tuple(_effect(pairs, figure, noise[figure], alpha) for pairs, figure in wanted)
    factors = tuple(dict.fromkeys(pairs.factor for pairs in [*alone, *joint]))
    return Effects(found, factors, together, tuple(used))


def _grouped(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """The rows, with numbers of which a setting has many (as in a random search) as ranges of about as many values each."""
    ranges: dict[str, dict[Any, Range]] = {}
    for key in swept_keys(rows):
        ordered = sorted({value for row in rows if isinstance(value := row.swept.get(key), int | float)})
        if len(ordered) > MOST_LEVELS:
            cuts = [round(place * len(ordered) / GROUPS) for place in range(GROUPS + 1)]
            parts = [ordered[low:high] for low, high in itertools.pairwise(cuts)]
            ranges[key] = {value: Range.of(part) for part in parts for value in part}
    if not ranges:
        return list(rows)
    return [replace(row, swept={key: _range_of(ranges.get(key), value) for key, value in row.swept.items()}) for row in rows]


def _range_of(ranges: Mapping[Any, Range] | None, value: Any) -> Any:
    return ranges[value] if ranges and isinstance(value, int | float) else value


def _pairs_of(factor: tuple[str, ...], keys: Sequence[str], rows: Sequence[TrialRow]) -> Iterable[_Pairs]:
    """Every two levels of the factor that share company and seed at least once."""
    by_level: dict[str, list[TrialRow]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: [_order(value) for value in level_of(row, factor)]):
        by_level[repr(level_of(row, factor))].append(row)
    for one, other in itertools.combinations(by_level.values(), 2):
        company = [key for key in keys if key not in factor and not _part_of(key, factor, one, other)]
        first, second = _by_company(one, company), _by_company(other, company)
        matched = {key: (first[key], second[key]) for key in first if key in second}
        if matched:
            yield _Pairs(factor, (level_of(one[0], factor), level_of(other[0], factor)), matched)


def level_of(row: TrialRow, factor: Sequence[str]) -> Level:
    """The values that a trial has of the factor's settings."""
    return tuple(row.swept.get(key) for key in factor)


def _part_of(key: str, factor: Sequence[str], one: Sequence[TrialRow], other: Sequence[TrialRow]) -> bool:
    """Whether a setting belongs to the method that the factor chooses (`selector.gamma` to `selector.name`), and one of the two
    methods has none."""
    chosen = any(name.endswith(".name") and key.startswith(name.removesuffix("name")) for name in factor)
    return chosen and any(all(row.swept.get(key) is None for row in side) for side in (one, other))


def _by_company(rows: Iterable[TrialRow], company: Sequence[str]) -> dict[tuple[Any, Any], list[TrialRow]]:
    found: dict[tuple[Any, Any], list[TrialRow]] = defaultdict(list)
    for row in rows:
        found[tuple(repr(row.swept.get(key)) for key in company), row.seed].append(row)
    return found


def _effect(pairs: _Pairs, figure: str, noise: _Noise, alpha: float) -> Effect:
    """The mean over seeds of the mean over company; its interval is that over seeds, or over prompts where that is wider."""
    by_seed: dict[Any, list[tuple[float, float]]] = defaultdict(list)
    gaps: list[tuple[float, float]] = []
    for (_, seed), sides in pairs.matched.items():
        (first, first_low, first_high), (second, second_low, second_high) = (_rate(side, figure) for side in sides)
        by_seed[seed].append((first, second))
        gaps.append((math.hypot(second - second_low, first_high - first), math.hypot(second_high - second, first - first_low)))
    per_seed = [tuple(_mean(side) for side in zip(*values, strict=True)) for values in by_seed.values()]
    before, after = (_mean(side) for side in zip(*per_seed, strict=True))
    seeds = len(per_seed)
    over_seeds = _over_seeds([second - first for first, second in per_seed], noise, alpha)
    scale = normal_point(alpha) / normal_point(ALPHA) / math.sqrt(min(seeds, MOST_ASKED))
    down, up = (max(over_seeds, scale * _mean(side)) for side in zip(*gaps, strict=True))
    counts = [row.figures.get(f"{figure}_n", 0) for sides in pairs.matched.values() for side in sides for row in side]
    low, high = max(-1.0, after - before - down), min(1.0, after - before + up)
    return Effect(pairs.factor, figure, pairs.levels, (before, after), low, high, seeds, len(gaps), int(min(counts)))


def _rate(rows: Sequence[TrialRow], figure: str) -> tuple[float, float, float]:
    """Mean value, low and high of some trials."""
    value, low, high = (_mean(side) for side in zip(*(ends(row.figures, figure) for row in rows), strict=True))
    return value, low, high


def ends(figures: Mapping[str, Any], name: str) -> tuple[float, float, float]:
    """A rate and the ends of its interval over prompts; the rate itself where it has none.

    An interval without width says that all n prompts gave the same. A share of up to z² / (n + z²) of all prompts may still
    differ (Wilson's end at 0), each by no more than the distance to 0 or 1.
    """
    value = float(figures[name])
    low, high = (float(figures.get(f"{name}_{end}", value)) for end in ("low", "high"))
    n, z = figures.get(f"{name}_n"), normal_point(ALPHA)
    if low == high and n:
        other = z * z / (n + z * z)
        return value, value * (1 - other), value + (1 - value) * other
    return value, low, high


def _over_seeds(differences: Sequence[float], noise: _Noise, alpha: float) -> float:
    """Half width of a t-interval of the mean. The spread is the larger of these differences' own and that of all trials,
    which is known better: it has the degrees of freedom. Where the sweep has one seed nothing is known of it: 0."""
    seeds, mean = len(differences), _mean(differences)
    df = max(noise.df, seeds - 1)
    own = sum((value - mean) ** 2 for value in differences) / max(1, seeds - 1)
    return t_point(alpha, df) * math.sqrt(max(own, 2 * noise.variance) / seeds) if df else 0.0


def _noise(rows: Sequence[TrialRow], figure: str) -> _Noise:
    """From the cells (trials of the same settings) that have all seeds; a trial that is another one's twin counts once."""
    cells: dict[str, dict[Any, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if figure in row.figures and not row.figures.get("same_as"):
            cells[repr(sorted(row.swept.items()))][row.seed].append(float(row.figures[figure]))
    seeds = set().union(*cells.values()) if cells else set()
    whole = [{seed: _mean(values) for seed, values in cell.items()} for cell in cells.values() if set(cell) == seeds]
    if len(whole) < 2 or len(seeds) < 2:
        return _Noise()
    grand = _mean([value for cell in whole for value in cell.values()])
    of_seed = {seed: _mean([cell[seed] for cell in whole]) - grand for seed in seeds}
    squares = sum((value - _mean(list(cell.values())) - of_seed[seed]) ** 2 for cell in whole for seed, value in cell.items())
    df = (len(whole) - 1) * (len(seeds) - 1)
    return _Noise(squares / df, df)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _order(value: Any) -> tuple[int, float]:
    """Unset first, then numbers by size; texts stay as they come."""
    if value is None or isinstance(value, Range):
        return 0, getattr(value, "low", -math.inf)
    return (1, float(value)) if isinstance(value, int | float) else (2, 0.0)
