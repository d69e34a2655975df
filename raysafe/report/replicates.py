"""Which trials count as replicates of each other: seeds that are seeds, and one way of being evaluated."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from raysafe.report.summary import TrialRow

EVALUATION = "evaluation"
"""The figure that says how a trial was evaluated: suites, files, decoding, judges; a fingerprint."""
SAME = "same_as"
Way = Callable[[TrialRow], str]


def distinct(rows: Sequence[TrialRow]) -> tuple[list[TrialRow], list[TrialRow]]:
    """(trials that count, those that repeat one): a trial of the same settings as an earlier one and the same seeds, or whose
    training is the very same (`same_as`), says nothing new."""
    kept: list[TrialRow] = []
    repeated: list[TrialRow] = []
    seen: set[tuple[str, Hashable]] = set()
    way = way_of(rows)
    for row in rows:
        settings = repr((sorted(row.swept.items(), key=lambda item: item[0]), way(row)))
        marks = {(settings, row.replicate), (settings, row.figures.get(SAME) or row.trial)}
        (repeated if marks & seen else kept).append(row)
        seen |= marks
    return kept, repeated


def cluster_of(rows: Sequence[TrialRow]) -> Callable[[TrialRow], Any]:
    """What is drawn anew between replicates: the seed of all; where there are axes of their own, of those that have several seeds
    the outermost (world, ranking, training), in which the others lie. What lies in one is averaged, so that an interval over
    units has all sources in it."""
    places = range(len(rows[0].replicate)) if rows else range(0)
    place = next((place for place in places if len({row.replicate[place] for row in rows}) > 1), -1)
    return lambda row: row.replicate[place]


def way_of(rows: Sequence[TrialRow]) -> Way:
    """How a trial was evaluated, as finished ones say. Where every replicate has one way alone that is no difference: worlds have
    prompts of their own, and trials are compared within one."""
    found: dict[Hashable, set[str]] = defaultdict(set)
    for row in rows:
        if row.status == "FINISHED":
            found[row.replicate].add(_way(row))
    several = any(len(names) > 1 for names in found.values())
    return _way if several else lambda row: ""


def ways(rows: Sequence[TrialRow]) -> int:
    """In how many ways trials were evaluated that would else be compared; 1 where there is no difference."""
    way = way_of(rows)
    return max(1, len({way(row) for row in rows}))


def _way(row: TrialRow) -> str:
    return str(row.figures.get(EVALUATION) or "")
