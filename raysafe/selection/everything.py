"""No selection: all of the fine-tuning data."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor


@dataclass(frozen=True)
class Everything:
    """Keeps all rows; every score is 0."""

    name: ClassVar[str] = "none"
    trained: ClassVar[bool] = False
    keeps_all: ClassVar[bool] = True

    def scores(self, rows: int, seed: int) -> Tensor:
        """Zeros, shape N."""
        return torch.zeros(rows, dtype=torch.float64)
