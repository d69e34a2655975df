"""W-DOOR: DOOR with token weights from a proxy reward and token-level unlearning."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from raysafe.errors import require
from raysafe.objectives.base import FrozenModel, Stream, StreamLogProbs, retain_loss, sequence_log_prob
from raysafe.objectives.terms import token_npo_term


@dataclass(frozen=True)
class WDoor:
    """L_align = sum_t -b_t log pi_theta(y_s,t | x + y_h[:k], y_s,<t) + token-level NPO on y_h.

    b_t = exp(r_t / tau), r_t = log pi_dpo(y_s,t) - log pi_ref(y_s,t), a constant (W-DOOR, arXiv:2503.03710).
    """

    name: ClassVar[str] = "wdoor"
    alignment: ClassVar[tuple[Stream, ...]] = ("safe", "harmful")
    frozen_models: ClassVar[Mapping[Stream, tuple[FrozenModel, ...]]] = {
        "safe": ("reference", "proxy"),
        "harmful": ("reference",),
    }
    prefixed: ClassVar[bool] = True

    alpha: float = 0.2
    """Weight of the alignment term, 0 to 1."""
    beta: float = 0.5
    """NPO's inverse temperature, > 0."""
    tau: float = 5.0
    """Temperature of the token weights, > 0 (the paper: 5; its ablation: 1, 3, 10)."""
    weight_cap: float | None = None
    """Largest token weight, > 0, or none."""

    def __post_init__(self) -> None:
        require(0 <= self.alpha <= 1, "0 <= alpha <= 1", self.alpha)
        require(self.beta > 0, "beta > 0", self.beta)
        require(self.tau > 0, "tau > 0", self.tau)
        require(self.weight_cap is None or self.weight_cap > 0, "weight_cap > 0", self.weight_cap)

    def token_weights(self, safe: StreamLogProbs) -> Tensor:
        """b_t, shape BT, without gradient; 0 outside the mask."""
        reward_BT = (safe.frozen["proxy"] - safe.frozen["reference"]).detach()
        weight_BT = (reward_BT.masked_fill(safe.mask_BT == 0, 0.0) / self.tau).exp()
        if self.weight_cap is not None:
            weight_BT = weight_BT.clamp(max=self.weight_cap)
        return weight_BT.masked_fill(safe.mask_BT == 0, 0.0)

    def __call__(self, streams: Mapping[Stream, StreamLogProbs]) -> dict[str, Tensor]:
        """{"align": loss_B, "retain": loss_B}."""
        safe = streams["safe"]
        policy_BT = safe.policy_BT.masked_fill(safe.mask_BT == 0, 0.0)
        refusal_B = -sequence_log_prob(self.token_weights(safe) * policy_BT, safe.mask_BT)
        return {"align": refusal_B + token_npo_term(streams["harmful"], self.beta), "retain": retain_loss(streams)}
