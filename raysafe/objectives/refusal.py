"""Robust refusal training: SFT of refusals after harmful prefixes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from raysafe.errors import require
from raysafe.objectives.base import FrozenModel, Stream, StreamLogProbs, retain_loss
from raysafe.objectives.terms import refusal_term


@dataclass(frozen=True)
class Refusal:
    """L_align = -log pi_theta(y_s | x + y_h[:k]) (DOOR, arXiv:2503.03710, robust refusal training)."""

    name: ClassVar[str] = "refusal"
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
        return {"align": refusal_term(streams["safe"]), "retain": retain_loss(streams)}
