"""W-DOOR: DOOR with token weights from a proxy reward and token-level unlearning."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

from torch import Tensor

from raysafe.errors import require
from raysafe.objectives.base import FrozenModel, Stream, StreamLogProbs, retain_loss, sequence_log_prob
from raysafe.objectives.token_weights import TOKEN_WEIGHTS
from raysafe.objectives.unlearning import UNLEARNING


@dataclass(frozen=True)
class WDoor:
    """L_align = sum_t -b_t log pi_theta(y_s,t | x + y_h[:k], y_s,<t) + the unlearning term on y_h.

    b_t is a constant made of r_t = log pi_dpo(y_s,t) - log pi_ref(y_s,t) (W-DOOR, arXiv:2503.03710); `token_weights.py`
    has the weights, `unlearning.py` the terms. The defaults are the paper's; what the released code runs is
    weights exp_released or sigmoid_released, unlearning released_sum, tau 1.
    A setting that the chosen variants don't use must stay at its default: ValueError.
    """

    name: ClassVar[str] = "wdoor"
    alignment: ClassVar[tuple[Stream, ...]] = ("safe", "harmful")
    linear: ClassVar[tuple[Stream, ...]] = ("safe", "retain")
    prefixed: ClassVar[bool] = True

    alpha: float = 0.2
    """Weight of the alignment term, 0 to 1."""
    beta: float = 0.5
    """Inverse temperature of the unlearning term, > 0."""
    weights: Literal["exp", "sigmoid", "exp_released", "sigmoid_released"] = "exp"
    """Formula of the token weights b_t (`TOKEN_WEIGHTS`)."""
    tau: float = 5.0
    """Temperature of the weights exp and exp_released, > 0 (the paper: 5; its ablation: 1, 3, 10; released runs: 1)."""
    slope: float = 1.0
    """Slope of the weights sigmoid and sigmoid_released, > 0 (released: 1)."""
    weight_cap: float | None = None
    """Largest token weight, > 0, or none."""
    unlearning: Literal["token", "sequence", "released", "released_sum"] = "token"
    """Formula of the unlearning term (`UNLEARNING`)."""
    margin: float = 1.0
    """Margin of the unlearning terms released and released_sum (released: 1)."""

    def __post_init__(self) -> None:
        require(0 <= self.alpha <= 1, "0 <= alpha <= 1", self.alpha)
        require(self.weights in TOKEN_WEIGHTS, f"weights is one of {', '.join(TOKEN_WEIGHTS)}", self.weights)
        require(self.unlearning in UNLEARNING, f"unlearning is one of {', '.join(UNLEARNING)}", self.unlearning)
        for name in ("beta", "tau", "slope"):
            require(getattr(self, name) > 0, f"{name} > 0", getattr(self, name))
        require(self.weight_cap is None or self.weight_cap > 0, "weight_cap > 0", self.weight_cap)
        self._refuse_unused()

    def _refuse_unused(self) -> None:
        """A number that nothing reads would make a sweep over it a sweep over nothing."""
        used = {TOKEN_WEIGHTS[self.weights].setting, *UNLEARNING[self.unlearning].settings}
        defaults = {item.name: item.default for item in fields(self)}
        for name in ("tau", "slope", "margin"):
            chosen = f"unlearning {self.unlearning}" if name == "margin" else f"weights {self.weights}"
            rule = f"{name} is left at {defaults[name]} with {chosen}, which has no {name}"
            require(name in used or getattr(self, name) == defaults[name], rule, getattr(self, name))

    @property
    def frozen_models(self) -> Mapping[Stream, tuple[FrozenModel, ...]]:
        """The weights need both models on safe answers; some unlearning terms need none on harmful ones."""
        models: dict[Stream, tuple[FrozenModel, ...]] = {"safe": ("reference", "proxy")}
        harmful = UNLEARNING[self.unlearning].frozen
        return {**models, "harmful": harmful} if harmful else models

    def token_weights(self, safe: StreamLogProbs) -> Tensor:
        """b_t, shape BT, without gradient; 0 outside the mask. The cap cuts an infinite weight too."""
        reward_BT = (safe.frozen["proxy"] - safe.frozen["reference"]).detach().masked_fill(safe.mask_BT == 0, 0.0)
        variant = TOKEN_WEIGHTS[self.weights]
        weight_BT = variant.formula(reward_BT, getattr(self, variant.setting))
        if self.weight_cap is not None:
            weight_BT = weight_BT.clamp(max=self.weight_cap)
        return weight_BT.masked_fill(safe.mask_BT == 0, 0.0)

    def unlearning_term(self, harmful: StreamLogProbs) -> Tensor:
        """What is minimised on harmful answers, shape B."""
        variant = UNLEARNING[self.unlearning]
        return variant.formula(harmful, *(getattr(self, name) for name in variant.settings))

    def __call__(self, streams: Mapping[Stream, StreamLogProbs]) -> dict[str, Tensor]:
        """{"align": loss_B, "retain": loss_B}."""
        safe = streams["safe"]
        policy_BT = safe.policy_BT.masked_fill(safe.mask_BT == 0, 0.0)
        refusal_B = -sequence_log_prob(self.token_weights(safe) * policy_BT, safe.mask_BT)
        return {"align": refusal_B + self.unlearning_term(streams["harmful"]), "retain": retain_loss(streams)}
