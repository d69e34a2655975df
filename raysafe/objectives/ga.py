"""Gradient ascent on harmful answers: unlearning without a reference, the baseline that diverges."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from raysafe.errors import require
from raysafe.objectives.base import FrozenModel, Stream, StreamLogProbs, retain_loss, sequence_log_prob


@dataclass(frozen=True)
class Ga:
    """L_align = +log pi_theta(y_h|x) (gradient ascent, as in NPO, arXiv:2404.05868, section 2). It has no lower bound."""

    name: ClassVar[str] = "ga"
    alignment: ClassVar[tuple[Stream, ...]] = ("harmful",)
    linear: ClassVar[tuple[Stream, ...]] = ("harmful", "retain")
    frozen_models: ClassVar[Mapping[Stream, tuple[FrozenModel, ...]]] = {}
    prefixed: ClassVar[bool] = False

    alpha: float = 0.2
    """Weight of the alignment term, 0 to 1."""

    def __post_init__(self) -> None:
        require(0 <= self.alpha <= 1, "0 <= alpha <= 1", self.alpha)

    def __call__(self, streams: Mapping[Stream, StreamLogProbs]) -> dict[str, Tensor]:
        """{"align": loss_B, "retain": loss_B}."""
        harmful = streams["harmful"]
        return {"align": sequence_log_prob(harmful.policy_BT, harmful.mask_BT), "retain": retain_loss(streams)}
