"""A random ranking, the baseline that every selector must beat."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from raysafe.selection.base import Pool, RowScores, Selector


@dataclass(frozen=True)
class Random(Selector):
    """Ranks the rows by a permutation of 0..N-1 drawn from the trial's seed."""

    name: ClassVar[str] = "random"

    def rank(self, pool: Pool) -> RowScores:
        """The permutation."""
        generator = torch.Generator().manual_seed(pool.seed)
        return RowScores(torch.randperm(pool.size, generator=generator).double())
