"""What a selector is."""

from typing import ClassVar, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Selector(Protocol):
    """A frozen dataclass: its fields are its settings.

    Class attributes:
      trained: whether its scores come out of a training stage (SEAL) or from `scores` at once.
      keeps_all: whether it keeps every row, so that a percentage means nothing to it.
    """

    name: ClassVar[str]
    trained: ClassVar[bool]
    keeps_all: ClassVar[bool]

    def scores(self, rows: int, seed: int) -> Tensor:
        """One float64 score a row, shape N, larger is kept first. A trained selector returns its starting point."""
        ...
