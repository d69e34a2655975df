"""What a selector is."""

from typing import ClassVar, Literal, Protocol, runtime_checkable

from torch import Tensor

ScoredBy = Literal["itself", "training", "frozen loss", "texts"]
READS_MODEL: frozenset[ScoredBy] = frozenset({"training", "frozen loss"})
"""Scored with a model, which may be another than the one that is trained in the end."""
READS_SAFE: frozenset[ScoredBy] = frozenset({"training", "texts"})
"""Scored against the trusted rows."""


@runtime_checkable
class Selector(Protocol):
    """A frozen dataclass: its fields are its settings.

    Class attributes:
      scored_by: where its scores come from: from `scores` at once (`itself`), from a training of its own (`training`), from each
        row's loss under the untrained model (`frozen loss`), or from the rows' words alone (`texts`).
      keeps_all: whether it keeps every row, so that a percentage means nothing to it.
    """

    name: ClassVar[str]
    scored_by: ClassVar[ScoredBy]
    keeps_all: ClassVar[bool]

    def scores(self, rows: int, seed: int) -> Tensor:
        """One float64 score a row, shape N, larger is kept first; the starting point of those that are scored elsewhere."""
        ...
