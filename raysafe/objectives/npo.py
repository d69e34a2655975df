"""Negative preference optimisation: unlearning of harmful answers against a reference."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from raysafe.errors import require
from raysafe.objectives.base import FrozenModel, Stream, StreamLogProbs, retain_loss
from raysafe.objectives.terms import npo_term


@dataclass(frozen=True)
class Npo:
    """L_align = -(2/beta) log sigmoid(-beta [log pi_theta(y_h|x) - log pi_ref(y_h|x)]) (NPO, arXiv:2404.05868, eq. 3).

    At pi_theta = pi_ref it is 2 log 2 / beta.
    """

    name: ClassVar[str] = "npo"
    alignment: ClassVar[tuple[Stream, ...]] = ("harmful",)
    linear: ClassVar[tuple[Stream, ...]] = ("retain",)
    frozen_models: ClassVar[Mapping[Stream, tuple[FrozenModel, ...]]] = {"harmful": ("reference",)}
    prefixed: ClassVar[bool] = False

    alpha: float = 0.2
    """Weight of the alignment term, 0 to 1."""
    beta: float = 0.5
    """Inverse temperature, > 0."""

    def __post_init__(self) -> None:
        require(0 <= self.alpha <= 1, "0 <= alpha <= 1", self.alpha)
        require(self.beta > 0, "beta > 0", self.beta)

    def __call__(self, streams: Mapping[Stream, StreamLogProbs]) -> dict[str, Tensor]:
        """{"align": loss_B, "retain": loss_B}."""
        return {"align": npo_term(streams["harmful"], self.beta), "retain": retain_loss(streams)}
