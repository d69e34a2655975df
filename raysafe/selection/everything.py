"""No selection: all of the fine-tuning data."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from raysafe.selection.base import ScoredBy


@dataclass(frozen=True)
class Everything:
    """Keeps all rows; every score is 0."""

    name: ClassVar[str] = "none"
    scored_by: ClassVar[ScoredBy] = "itself"
    keeps_all: ClassVar[bool] = True

    def scores(self, rows: int, seed: int) -> Tensor:
        """Zeros, shape N."""
        return torch.zeros(rows, dtype=torch.float64)
