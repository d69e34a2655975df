"""Rows to rank in memory."""

from dataclasses import dataclass

import torch

from raysafe.selection.base import RowScores, Visit


@dataclass(frozen=True)
class Rows:
    """A pool of rows whose last can't be used."""

    size: int
    seed: int = 0

    @property
    def places_K(self):
        return torch.arange(self.size - 1)

    def texts(self):
        return [f"some words {place % 3}" for place in range(self.size - 1)]

    def safe_texts(self):
        return ["some words 1"]

    def frozen_losses(self):
        return torch.linspace(3, 1, self.size - 1, dtype=torch.float64)

    def learn(self, selector):
        """A step on every usable row, all of them of one loss."""
        state, count = selector.start(self.size - 1, self.seed), self.size - 1
        losses = dict.fromkeys(selector.models(), torch.ones(count, dtype=torch.float64))
        visit = Visit(torch.arange(count), losses, selector.weights_of(state))
        return RowScores.of(self, selector.scores_of(selector.updated(state, visit)))
