"""Ranking by the frozen base model's own loss: the baseline that SEAL's learning must beat."""

from dataclasses import dataclass
from typing import ClassVar

from raysafe.selection.base import Pool, Reads, RowScores, Selector


@dataclass(frozen=True)
class Loss(Selector):
    """score_i = -l(theta_0; z_i), the length-normalised NLL under the untrained model: the least surprising rows are kept."""

    name: ClassVar[str] = "loss"
    reads: ClassVar[frozenset[Reads]] = frozenset({"model"})

    def rank(self, pool: Pool) -> RowScores:
        """Minus the loss of every usable row."""
        return RowScores.of(pool, -pool.frozen_losses())
