"""How good a ranking is where labels are known."""

import torch
from torch import Tensor


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
