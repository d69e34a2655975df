"""Ranking by the frozen base model's own loss: the baseline that SEAL's learning must beat."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from raysafe.selection.base import ScoredBy


@dataclass(frozen=True)
class Loss:
    """score_i = -l(theta_0; z_i), the length-normalised NLL under the untrained model: the least surprising rows are kept."""

    name: ClassVar[str] = "loss"
    scored_by: ClassVar[ScoredBy] = "frozen loss"
    keeps_all: ClassVar[bool] = False

    def scores(self, rows: int, seed: int) -> Tensor:
        """Zeros, shape N, float64: what a row has that no loss is known of."""
        return torch.zeros(rows, dtype=torch.float64)
