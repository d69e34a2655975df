"""Refusal training as the released DOOR code runs it: means over padded positions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from raysafe.errors import require
from raysafe.objectives.base import FrozenModel, Stream, StreamLogProbs
from raysafe.objectives.terms import padded_mean


@dataclass(frozen=True)
class RefusalReleased:
    """L_align = -log pi_theta(y_s | x + y_h[:k]) / padded, L_retain = -log pi_theta(y|x) / padded.

    Released DOOR code, `gd_loss` of utils/loss.py; `refusal` has sums over the tokens in place of these means.
    """

    name: ClassVar[str] = "refusal_released"
    alignment: ClassVar[tuple[Stream, ...]] = ("safe",)
    linear: ClassVar[tuple[Stream, ...]] = ("safe", "retain")
    frozen_models: ClassVar[Mapping[Stream, tuple[FrozenModel, ...]]] = {}
    prefixed: ClassVar[bool] = True

    alpha: float = 0.2
    """Weight of the alignment term, 0 to 1."""

    def __post_init__(self) -> None:
        require(0 <= self.alpha <= 1, "0 <= alpha <= 1", self.alpha)

    def __call__(self, streams: Mapping[Stream, StreamLogProbs]) -> dict[str, Tensor]:
        """{"align": loss_B, "retain": loss_B}."""
        return {"align": -padded_mean(streams["safe"]), "retain": -padded_mean(streams["retain"])}
