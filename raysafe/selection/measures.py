"""How good a ranking is where labels are known, and how far two rankings agree: plain functions of plain tensors.

N rows of the data set, larger scores first. Nothing here returns NaN: what is not defined is None.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from raysafe.selection.top import kept_count

QUANTILES = (5, 25, 50, 75, 95)


def auc(scores_N: Tensor, unsafe_N: Tensor) -> float | None:
    """P(a safe row scores above an unsafe one), ties half (Mann-Whitney); None if one of the two kinds is missing.

    scores_N: float. unsafe_N: bool.
    """
    safe, unsafe = scores_N[~unsafe_N].double(), scores_N[unsafe_N].double()
    if not len(safe) or not len(unsafe):
        return None
    ordered = unsafe.sort().values
    below = torch.searchsorted(ordered, safe, right=False)
    not_above = torch.searchsorted(ordered, safe, right=True)
    return float((below + not_above).double().sum() / 2 / (len(safe) * len(unsafe)))


def mean_ranks(values_N: Tensor) -> Tensor:
    """Rank of each value counted from 1 at the smallest, shape N, float64; tied values share the mean of their ranks."""
    _, group_N, counts = torch.unique(values_N.double(), return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    mean: Tensor = last - (counts.double() - 1) / 2
    return mean[group_N]


def spearman(one_N: Tensor, other_N: Tensor) -> float | None:
    """Spearman's rank correlation, in [-1, 1]: Pearson's correlation of the ranks, ties by mean rank.

    None where it is not defined: fewer than two rows, all scores of one ranking equal, or a score that is NaN.
    """
    if len(one_N) < 2 or one_N.isnan().any() or other_N.isnan().any():
        return None
    return correlation(mean_ranks(one_N), mean_ranks(other_N))


def correlation(one_N: Tensor, other_N: Tensor) -> float | None:
    """Pearson's, of float64 values; None if all values of one side are equal."""
    one_N, other_N = one_N - one_N.mean(), other_N - other_N.mean()
    spread = float(one_N.square().sum().sqrt() * other_N.square().sum().sqrt())
    return max(-1.0, min(1.0, float((one_N * other_N).sum()) / spread)) if spread > 0 else None


def jaccard(one_N: Tensor, other_N: Tensor) -> float | None:
    """|A and B| / |A or B| of two sets of rows given as masks, bool, in [0, 1]; None if both are empty."""
    union = int((one_N | other_N).sum())
    return int((one_N & other_N).sum()) / union if union else None


def unsafe_share(kept_N: Tensor, unsafe_N: Tensor) -> float | None:
    """Share of unsafe rows among the kept ones, in [0, 1]; both are masks, bool. None if no row is kept."""
    kept = int(kept_N.sum())
    return int((kept_N & unsafe_N).sum()) / kept if kept else None


def planted_recall(scores_N: Tensor, planted_N: Tensor, usable_N: Tensor, percent: float) -> float | None:
    """Share of the planted rows that fall OUTSIDE the top p % of all rows, in [0, 1]: 1 is best, every bad row was caught.

    N counts the planted rows, and the rows that are not usable too, as `top_percent` does. A random ranking has 1 - p / 100.
    Of rows that tie at the cut only some have room: each counts as outside with the share that has none, so that a
    ranking of equal scores has the recall of a random one. None if no planted row is usable.
    """
    scores = scores_N[usable_N].double()
    wanted = scores_N[usable_N & planted_N].double()
    if not len(wanted):
        return None
    ordered = scores.sort().values
    above = len(ordered) - torch.searchsorted(ordered, wanted, right=True)
    tied = len(ordered) - torch.searchsorted(ordered, wanted, right=False) - above
    room = (kept_count(len(scores_N), percent) - above).double()
    inside = torch.minimum(room.clamp(min=0.0), tied.double()) / tied
    return float((1.0 - inside).mean())


@dataclass(frozen=True)
class Distribution:
    """What a set of scores looks like. `std` divides by the count; quantiles interpolate between neighbours."""

    count: int
    mean: float
    std: float
    min: float
    q5: float
    q25: float
    q50: float
    q75: float
    q95: float
    max: float


def distribution(scores_N: Tensor) -> Distribution | None:
    """Of the finite scores among these; None if there is none."""
    finite = scores_N[scores_N.isfinite()].double().sort().values
    if not len(finite):
        return None
    shares = torch.tensor(QUANTILES, dtype=torch.float64) / 100
    place = shares * (len(finite) - 1)
    low, high = finite[place.floor().long()], finite[place.ceil().long()]
    q5, q25, q50, q75, q95 = (low + (high - low) * (place - place.floor())).tolist()
    mean, std, least, most = (float(one) for one in (finite.mean(), finite.std(correction=0), finite[0], finite[-1]))
    return Distribution(len(finite), mean, std, least, q5, q25, q50, q75, q95, most)
