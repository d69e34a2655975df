"""From scores to the kept rows."""

import math
from fractions import Fraction

import torch
from torch import Tensor

from raysafe.errors import require


def kept_count(rows: int, percent: float) -> int:
    """ceil(percent * rows / 100), in exact arithmetic, so that 70 % of 10 rows are 7 and not 8."""
    require(0 < percent <= 100, "0 < percent <= 100", percent)
    return math.ceil(Fraction(str(percent)) * rows / 100)


def ranks(scores_N: Tensor, eligible_N: Tensor) -> Tensor:
    """Rank of each row, shape N, int64: 0 is the largest score, ties by row index, ineligible rows last."""
    keys_N = scores_N.to(torch.float64).masked_fill(~eligible_N, -math.inf)
    order_N = torch.sort(keys_N, descending=True, stable=True).indices
    rank_N = torch.empty_like(order_N)
    rank_N[order_N] = torch.arange(len(order_N))
    return rank_N


def top_percent(scores_N: Tensor, percent: float, eligible_N: Tensor) -> Tensor:
    """Mask of the ceil(p N / 100) rows of largest score, shape N, bool (SEAL, arXiv:2410.07471, data selection).

    N counts every row of the loaded data, the ineligible ones too (dropped by a filter): they are never kept, so that
    fewer rows than that may be.
    """
    return (ranks(scores_N, eligible_N) < kept_count(len(scores_N), percent)) & eligible_N
