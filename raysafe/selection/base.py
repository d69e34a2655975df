"""What a selector is, what it is given, and what it gives back.

N rows of the data set D, K of them usable (a length filter left them), B rows of one optimiser step.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from raysafe.errors import require

Reads = Literal["safe", "model"]
"""What a ranking depends on beside the rows themselves: the trusted rows, a model (which may be another than the trained one)."""
SelectorStream = Literal["safe", "finetune"]
"""Rows of D_safe, rows of D."""


@dataclass(frozen=True)
class RowScores:
    """What a selector says of the N rows. `warnings`: what whoever uses the ranking must know.

    scores_N: float64, larger is kept first; any finite number for a row that can't be used, which is never kept.
    left_out: the reason of each row that the selector itself refuses, by its place among the N.
    """

    scores_N: Tensor
    left_out: Mapping[int, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, pool: "Pool", scores_K: Tensor, left_out: Mapping[int, str] | None = None) -> "RowScores":
        """Scores of the usable rows put where they belong among all; the others have 0."""
        zeros_N = torch.zeros(pool.size, dtype=torch.float64)
        return cls(zeros_N.index_copy(0, pool.places_K, scores_K.double()), left_out or {})


class Pool(Protocol):
    """The rows that are to be ranked, and what can be asked about them; every worker of a group calls the same."""

    @property
    def size(self) -> int:
        """N."""

    @property
    def places_K(self) -> Tensor:
        """Where the usable rows stand among the N, int64."""

    @property
    def seed(self) -> int:
        """The trial's: what a selector draws depends on it alone."""

    def texts(self) -> Sequence[str]:
        """Turns and answer of each of the K rows."""

    def safe_texts(self) -> Sequence[str]:
        """The same of D_safe; for selectors that read `safe`."""

    def frozen_losses(self) -> Tensor:
        """l(theta_0; z) of the K rows under the untrained model, float64; for selectors that read `model`."""

    def learn(self, selector: "Learned") -> RowScores:
        """What the selector's own training ends with."""


class Selector:
    """Base of all selectors. A selector is a frozen dataclass, its fields are its settings, and it is whole in its file.

    Class attributes: `name`, as in SELECTORS; `reads`, what it needs beside the rows; `keeps_all`, whether it keeps every row,
    so that a percentage means nothing to it.
    """

    name: ClassVar[str]
    reads: ClassVar[frozenset[Reads]] = frozenset()
    keeps_all: ClassVar[bool] = False

    def rank(self, pool: Pool) -> RowScores:
        """The scores of all rows, the same on every worker. Draws from generators of its own, seeded by the pool's seed."""
        raise NotImplementedError

    def check(self) -> None:
        """Before anything starts: raise ConfigError where something that it needs is not installed."""

    @property
    def learned(self) -> "Learned | None":
        """The selector itself if it trains, else None: whoever counts steps or batches asks this."""
        return None


@dataclass(frozen=True)
class Visit:
    """What one optimiser step saw of D, over all micro-batches and workers.

    rows_B: places among the K rows, int64. losses: model to l(model; z) of these rows, length-normalised NLL, from before the
    step, shape B, float64, without gradient. weights_K: the weights that the step was weighted by.
    """

    rows_B: Tensor
    losses: Mapping[str, Tensor]
    weights_K: Tensor


class Learned(Selector):
    """A selector that trains: weights of D's rows learn together with one model or several, which are thrown away at the end.

    A step takes a batch of D_safe and one of D: one forward pass, the models' gradients on `descent`, `updated`. The loop
    (ranking/learning.py) does the rest: row order, micro-batches, workers, resuming, reports. A state is a frozen dataclass of
    tensors and numbers, so that it can be saved. Fields that each has, all of them settings:
    """

    reads: ClassVar[frozenset[Reads]] = frozenset({"safe", "model"})
    betas: ClassVar[tuple[float, float]] = (0.9, 0.95)
    """Of the models' AdamW."""

    model_lr: float
    """Step size of the models."""
    epochs: int
    """Passes over D; D_safe cycles."""
    batch_size: int
    """Rows of D per optimiser step, over all workers."""
    safe_batch_size: int
    """Rows of D_safe per optimiser step, over all workers."""
    accumulation: int
    """Micro-batches per optimiser step."""

    def __post_init__(self) -> None:
        for name in ("model_lr", "epochs", "batch_size", "safe_batch_size", "accumulation"):
            require(getattr(self, name) > 0, f"{name} > 0", getattr(self, name))

    def models(self) -> Mapping[str, tuple[SelectorStream, ...]]:
        """The models that learn, each with the streams it sees. The first one's losses are reported by the streams' names."""
        return {"theta": ("safe", "finetune")}

    def start(self, rows: int, seed: int) -> Any:
        """The state of so many rows before the first step."""
        raise NotImplementedError

    def weights_of(self, state: Any) -> Tensor:
        """The weight of every row, shape K, float64."""
        raise NotImplementedError

    def descent(self, model: str, losses: Mapping[str, Tensor], weights_B: Tensor, epoch: int) -> Mapping[str, Tensor]:
        """What a model descends, by stream and row, linear in `losses`; the means over the batches are summed.

        losses: stream to its l(model; z), with gradient. weights_B: of the rows of `finetune`, from before the step.
        epoch: counted from 0.
        """
        raise NotImplementedError

    def unmoved(self, model: str, epoch: int) -> Collection[str]:
        """The streams, never all, whose rows can't move the model in this epoch, so that a forward pass of them will do."""
        return ()

    def updated(self, state: Any, visit: Visit) -> Any:
        """The state after a step; every worker computes it from the losses of all."""
        raise NotImplementedError

    def scores_of(self, state: Any) -> Tensor:
        """The score of every row, shape K, float64."""
        raise NotImplementedError

    def report(self, epoch: int) -> Mapping[str, float]:
        """What else is told of an epoch, beside losses, AUC and the spread of the weights."""
        return {}

    def rank(self, pool: Pool) -> RowScores:
        """What its training ends with."""
        return pool.learn(self)

    @property
    def learned(self) -> "Learned":
        """Itself."""
        return self
