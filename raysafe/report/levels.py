"""Levels of swept settings and the trials that stand against each other: alike in all other settings, seeds and evaluation."""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from raysafe.report.replicates import Way, way_of
from raysafe.report.summary import TrialRow, swept_keys

MOST_LEVELS = 12
"""Numbers of a setting that are compared one by one; of more, neighbours are taken together."""
GROUPS = 4
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
class Pairs:
    """Two levels of a factor and the trials that stand against each other: (company, replicate) to those of either level."""

    factor: tuple[str, ...]
    levels: tuple[Level, Level]
    matched: Mapping[tuple[Any, Any], tuple[Sequence[TrialRow], Sequence[TrialRow]]]

    def of(self, figure: str) -> "Pairs":
        """Those whose trials have the figure."""
        kept = {}
        for key, sides in self.matched.items():
            known = [[row for row in side if figure in row.figures] for side in sides]
            if all(known):
                kept[key] = (known[0], known[1])
        return Pairs(self.factor, self.levels, kept)


@dataclass(frozen=True)
class Design:
    """What can be compared. `alone`: pairs of levels of single settings; `joint`: of settings, `together`, that were never
    changed one by one."""

    alone: tuple[Pairs, ...]
    joint: tuple[Pairs, ...]
    together: tuple[str, ...]

    @property
    def pairs(self) -> tuple[Pairs, ...]:
        """All of them."""
        return (*self.alone, *self.joint)


def design_of(rows: Sequence[TrialRow]) -> Design:
    """Every two levels of every swept setting that some trials are alike but for."""
    keys = [key for key in swept_keys(rows) if len({repr(row.swept.get(key)) for row in rows}) > 1]
    alone = tuple(pairs for key in keys for pairs in pairs_of((key,), keys, rows))
    together = tuple(key for key in keys if (key,) not in {pairs.factor for pairs in alone})
    joint = tuple(pairs_of(together, keys, rows)) if len(together) > 1 else ()
    return Design(alone, joint, together)


def grouped(rows: Sequence[TrialRow]) -> list[TrialRow]:
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


def pairs_of(factor: tuple[str, ...], keys: Sequence[str], rows: Sequence[TrialRow]) -> Iterable[Pairs]:
    """Every two levels of the factor that share company and seeds at least once."""
    by_level: dict[str, list[TrialRow]] = defaultdict(list)
    way = way_of(rows)
    for row in sorted(rows, key=lambda row: [_order(value) for value in level_of(row, factor)]):
        by_level[repr(level_of(row, factor))].append(row)
    for one, other in itertools.combinations(by_level.values(), 2):
        company = [key for key in keys if key not in factor and not _part_of(key, factor, one, other)]
        first, second = _by_company(one, company, way), _by_company(other, company, way)
        matched = {key: (first[key], second[key]) for key in first if key in second}
        if matched:
            yield Pairs(factor, (level_of(one[0], factor), level_of(other[0], factor)), matched)


def level_of(row: TrialRow, factor: Sequence[str]) -> Level:
    """The values that a trial has of the factor's settings."""
    return tuple(row.swept.get(key) for key in factor)


def _part_of(key: str, factor: Sequence[str], one: Sequence[TrialRow], other: Sequence[TrialRow]) -> bool:
    """Whether a setting belongs to the method that the factor chooses (`selector.gamma` to `selector.name`), and one of the two
    methods has none."""
    chosen = any(name.endswith(".name") and key.startswith(name.removesuffix("name")) for name in factor)
    return chosen and any(all(row.swept.get(key) is None for row in side) for side in (one, other))


def _by_company(rows: Iterable[TrialRow], company: Sequence[str], way: Way) -> dict[tuple[Any, Any], list[TrialRow]]:
    found: dict[tuple[Any, Any], list[TrialRow]] = defaultdict(list)
    for row in rows:
        found[(way(row), *(repr(row.swept.get(key)) for key in company)), row.replicate].append(row)
    return found


def _order(value: Any) -> tuple[int, float]:
    """Unset first, then numbers by size; texts stay as they come."""
    if value is None or isinstance(value, Range):
        return 0, getattr(value, "low", -math.inf)
    return (1, float(value)) if isinstance(value, int | float) else (2, 0.0)
