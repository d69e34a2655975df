"""Direct preference optimisation, in NPO's scale."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from raysafe.errors import require
from raysafe.objectives.base import FrozenModel, Stream, StreamLogProbs, retain_loss
from raysafe.objectives.terms import log_ratio


@dataclass(frozen=True)
class Dpo:
    """L_align = -(2/beta) log sigmoid(beta [(log pi_theta - log pi_ref)(y_s) - (log pi_theta - log pi_ref)(y_h)]).

    DPO (arXiv:2305.18290, eq. 7) times 2/beta, which puts it on NPO's scale; at the reference it is 2 log 2 / beta.
    """

    name: ClassVar[str] = "dpo"
    alignment: ClassVar[tuple[Stream, ...]] = ("safe", "harmful")
    linear: ClassVar[tuple[Stream, ...]] = ("retain",)
    frozen_models: ClassVar[Mapping[Stream, tuple[FrozenModel, ...]]] = {
        "safe": ("reference",),
        "harmful": ("reference",),
    }
    prefixed: ClassVar[bool] = False

    alpha: float = 0.2
    """Weight of the alignment term, 0 to 1."""
    beta: float = 0.5
    """Inverse temperature, > 0."""

    def __post_init__(self) -> None:
        require(0 <= self.alpha <= 1, "0 <= alpha <= 1", self.alpha)
        require(self.beta > 0, "beta > 0", self.beta)

    def __call__(self, streams: Mapping[Stream, StreamLogProbs]) -> dict[str, Tensor]:
        """{"align": loss_B, "retain": loss_B}; rows of `safe` and `harmful` must be pairs, in order."""
        margin_B = log_ratio(streams["safe"]) - log_ratio(streams["harmful"])
        return {"align": -(2.0 / self.beta) * logsigmoid(self.beta * margin_B), "retain": retain_loss(streams)}
