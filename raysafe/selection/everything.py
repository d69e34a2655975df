"""No selection: all of the fine-tuning data."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from raysafe.selection.base import Pool, RowScores, Selector


@dataclass(frozen=True)
class Everything(Selector):
    """Keeps all rows; every score is 0."""

    name: ClassVar[str] = "none"
    keeps_all: ClassVar[bool] = True

    def rank(self, pool: Pool) -> RowScores:
        """Zeros."""
        return RowScores(torch.zeros(pool.size, dtype=torch.float64))
