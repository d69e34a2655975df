"""DSIR: ranking by how much likelier a row's n-grams are in the trusted data (Xie et al., 2023, arXiv:2302.03169)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from raysafe.errors import require
from raysafe.selection.base import ScoredBy


@dataclass(frozen=True)
class Dsir:
    """score_i = log p_safe(z_i) - log p_D(z_i) + g_i, with bags of hashed n-grams for p and Gumbel noise g_i.

    The rows of largest score are then a draw without replacement with probabilities proportional to p_safe / p_D (the paper,
    section 3: importance resampling by the Gumbel top-k trick), and one ranking gives the draw of every size. Defaults are the
    data-selection library's, but for `min_words`.
    """

    name: ClassVar[str] = "dsir"
    scored_by: ClassVar[ScoredBy] = "texts"
    keeps_all: ClassVar[bool] = False

    ngrams: int = 2
    """Longest n-gram: 2 counts words and pairs of words."""
    buckets: int = 10_000
    """Hash buckets that the n-grams share."""
    min_words: int = 0
    """Rows of fewer words are never kept; the library's own default, 100, would drop most chat answers."""
    noise: bool = True
    """Gumbel noise, drawn from the trial's seed; without it the rows of largest weight are kept, which is no resampling."""

    def __post_init__(self) -> None:
        for name in ("ngrams", "buckets"):
            require(getattr(self, name) > 0, f"{name} > 0", getattr(self, name))
        require(self.min_words >= 0, "min_words >= 0", self.min_words)

    def scores(self, rows: int, seed: int) -> Tensor:
        """Zeros, shape N, float64: what a row has that no text is known of."""
        return torch.zeros(rows, dtype=torch.float64)
