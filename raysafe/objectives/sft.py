"""Supervised fine-tuning: the retain term alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from raysafe.objectives.base import FrozenModel, Stream, StreamLogProbs, retain_loss


@dataclass(frozen=True)
class Sft:
    """-log pi_theta(y|x) on the selected rows; it has no hyper-parameter of its own."""

    name: ClassVar[str] = "sft"
    alignment: ClassVar[tuple[Stream, ...]] = ()
    linear: ClassVar[tuple[Stream, ...]] = ("retain",)
    frozen_models: ClassVar[Mapping[Stream, tuple[FrozenModel, ...]]] = {}
    prefixed: ClassVar[bool] = False

    @property
    def alpha(self) -> float:
        """No alignment term: the retain term has all the weight."""
        return 0.0

    def __call__(self, streams: Mapping[Stream, StreamLogProbs]) -> dict[str, Tensor]:
        """{"retain": loss_B}."""
        return {"retain": retain_loss(streams)}
