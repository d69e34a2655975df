"""The rankings of a sweep, and how far those of one data set agree: rank correlation of all rows, overlap of the kept ones."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from raysafe.ranking.diagnosis import Diagnosis, RankingTensors, at
from raysafe.selection.measures import correlation, jaccard, mean_ranks, spearman

Named = tuple[str, str, Mapping[str, Any], RankingTensors]
"""A ranking's name, what made it (a selector's name), the settings that tell it from others, and itself."""


@dataclass(frozen=True)
class SweepRanking:
    """A distinct ranking of a sweep. `settings`: those that may decide it, dotted; `shown`: those that tell it from others."""

    name: str
    maker: str
    """Its selector's name, or that of the file that stood in for it."""
    settings: Mapping[str, Any]
    shown: Mapping[str, Any]
    trials: tuple[str, ...]
    percents: tuple[float, ...]
    """The p's of its trials, in %, below 100."""
    tensors: RankingTensors
    diagnosis: Diagnosis

    @property
    def slug(self) -> str:
        """The name as a file is called."""
        return re.sub(r"[^\w.=]+", "-", self.name)[:100]


@dataclass(frozen=True)
class Agreement:
    """Of two rankings of the same data, on D's own rows: planted ones may differ from seed to seed."""

    first: str
    second: str
    makers: tuple[str, ...]
    """The selector of both, or the two selectors."""
    differ: tuple[str, ...]
    """The settings in which they differ."""
    fingerprint: str
    rows: int
    """Rows that both rank."""
    spearman: float | None
    """In [-1, 1]; None where one ranking has all scores equal."""
    jaccard: Mapping[str, float | None]
    """p in % to |A and B| / |A or B| of the kept rows, in [0, 1]."""

    def row(self) -> dict[str, Any]:
        """The line of `overlap.csv`."""
        names = {"first": self.first, "second": self.second, "differ": " ".join(self.differ)}
        shares = {f"jaccard_{percent}": value for percent, value in self.jaccard.items()}
        return {**names, "data_fingerprint": self.fingerprint, "rows": self.rows, "spearman": self.spearman, **shares}


def agreements(rankings: Sequence[Named], percents: Sequence[float]) -> list[Agreement]:
    """Of every pair that ranked the same data, in the given order."""
    ranked = [_Ranked.of(tensors, percents) for *_, tensors in rankings]
    pairs = itertools.combinations(zip(rankings, ranked, strict=True), 2)
    return [_agreement(one, other, percents) for one, other in pairs if one[0][-1].fingerprint == other[0][-1].fingerprint]


@dataclass(frozen=True)
class _Ranked:
    """What every pair of a ranking needs, worked out once. Shapes: N of D's own rows, K of the usable ones among them."""

    scores_N: Tensor
    usable_N: Tensor
    ranks_K: Tensor | None
    """None where no correlation is defined."""
    kept: Mapping[float, Tensor]

    @classmethod
    def of(cls, tensors: RankingTensors, percents: Sequence[float]) -> "_Ranked":
        d_N = ~tensors.planted_N
        scores_N, usable_N = tensors.scores_N[d_N], tensors.usable_N[d_N]
        known = int(usable_N.sum()) > 1 and not scores_N[usable_N].isnan().any()
        kept = {percent: tensors.kept_N(percent)[d_N] for percent in percents}
        return cls(scores_N, usable_N, mean_ranks(scores_N[usable_N]) if known else None, kept)

    def spearman(self, other: "_Ranked") -> float | None:
        """Over the rows that both rank."""
        if self.ranks_K is None or other.ranks_K is None:
            return None
        if torch.equal(self.usable_N, other.usable_N):
            return correlation(self.ranks_K, other.ranks_K)
        both_N = self.usable_N & other.usable_N
        return spearman(self.scores_N[both_N], other.scores_N[both_N])


def _agreement(one: tuple[Named, _Ranked], other: tuple[Named, _Ranked], percents: Sequence[float]) -> Agreement:
    (first, maker, settings, tensors), (second, other_maker, others, _) = one[0], other[0]
    rows = int((one[1].usable_N & other[1].usable_N).sum())
    overlap = at(percents, lambda percent: jaccard(one[1].kept[percent], other[1].kept[percent]))
    correlated = one[1].spearman(other[1])
    makers = tuple(dict.fromkeys((maker, other_maker)))
    return Agreement(first, second, makers, differ(settings, others), tensors.fingerprint, rows, correlated, overlap)


def differ(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, ...]:
    """Settings of unlike values; of two selectors only that they are two, since they share no settings."""
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    if "selector.name" in names:
        names = [name for name in names if name == "selector.name" or not name.startswith("selector.")]
    return tuple(names)


def matrix(names: Sequence[str], values: Mapping[tuple[str, str], float | None], diagonal: float) -> Tensor:
    """A symmetric table, float64, NaN where nothing is known, for drawing."""
    table = torch.full((len(names), len(names)), float("nan"), dtype=torch.float64)
    place = {name: number for number, name in enumerate(names)}
    for (first, second), value in values.items():
        if value is not None:
            table[place[first], place[second]] = table[place[second], place[first]] = value
    table.fill_diagonal_(diagonal)
    return table
