"""What a selector is."""

from typing import ClassVar, Literal, Protocol, runtime_checkable

from torch import Tensor

ScoredBy = Literal["itself", "training", "frozen loss"]


@runtime_checkable
class Selector(Protocol):
    """A frozen dataclass: its fields are its settings.

    Class attributes:
      scored_by: where its scores come from: from `scores` at once (`itself`), from a training of its own (`training`), or from
        each row's loss under the untrained model (`frozen loss`).
      keeps_all: whether it keeps every row, so that a percentage means nothing to it.
    """

    name: ClassVar[str]
    scored_by: ClassVar[ScoredBy]
    keeps_all: ClassVar[bool]

    def scores(self, rows: int, seed: int) -> Tensor:
        """One float64 score a row, shape N, larger is kept first; the starting point of those that are scored elsewhere."""
        ...
