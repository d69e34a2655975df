"""A random ranking, the baseline that every selector must beat."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from raysafe.selection.base import ScoredBy


@dataclass(frozen=True)
class Random:
    """Ranks the rows by a permutation drawn from the trial's seed."""

    name: ClassVar[str] = "random"
    scored_by: ClassVar[ScoredBy] = "itself"
    keeps_all: ClassVar[bool] = False

    def scores(self, rows: int, seed: int) -> Tensor:
        """A permutation of 0..N-1, shape N."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randperm(rows, generator=generator).to(torch.float64)
