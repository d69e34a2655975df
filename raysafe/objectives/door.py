"""DOOR: robust refusal and unlearning at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from raysafe.errors import require
from raysafe.objectives.base import FrozenModel, Stream, StreamLogProbs, retain_loss
from raysafe.objectives.terms import npo_term, refusal_term


@dataclass(frozen=True)
class Door:
    """L_align = -log pi_theta(y_s | x + y_h[:k]) - (2/beta) log sigmoid(-beta log [pi_theta / pi_ref](y_h)).

    DOOR, arXiv:2503.03710; both answers continue after the same prefix y_h[:k].
    """

    name: ClassVar[str] = "door"
    alignment: ClassVar[tuple[Stream, ...]] = ("safe", "harmful")
    linear: ClassVar[tuple[Stream, ...]] = ("safe", "retain")
    frozen_models: ClassVar[Mapping[Stream, tuple[FrozenModel, ...]]] = {"harmful": ("reference",)}
    prefixed: ClassVar[bool] = True

    alpha: float = 0.2
    """Weight of the alignment term, 0 to 1."""
    beta: float = 0.5
    """NPO's inverse temperature, > 0."""

    def __post_init__(self) -> None:
        require(0 <= self.alpha <= 1, "0 <= alpha <= 1", self.alpha)
        require(self.beta > 0, "beta > 0", self.beta)

    def __call__(self, streams: Mapping[Stream, StreamLogProbs]) -> dict[str, Tensor]:
        """{"align": loss_B, "retain": loss_B}."""
        align_B = refusal_term(streams["safe"]) + npo_term(streams["harmful"], self.beta)
        return {"align": align_B, "retain": retain_loss(streams)}
