"""W-DOOR's token weights b_t: functions of the proxy reward r_t = log pi_dpo(y_s,t) - log pi_ref(y_s,t).

Each takes the rewards (float, any shape) and its one setting and gives weights of the same shape and dtype. r_t is large
where the DPO-trained proxy has come to like a token of the refusal: the paper weighs those tokens up, the released code down.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor


def exp_weights(reward_BT: Tensor, tau: float) -> Tensor:
    """exp(r / tau) (W-DOOR, arXiv:2503.03710). Past the dtype's range (r / tau > 88 in float32) it is infinite, and the
    loss with it (or NaN, at log pi_theta = 0): training stops there. W-DOOR's `weight_cap` makes such a weight finite."""
    return (reward_BT / tau).exp()


def sigmoid_weights(reward_BT: Tensor, slope: float) -> Tensor:
    """sigmoid(slope * r): the released code's formula with the sign of the paper's exp(r / tau); between 0 and 1."""
    return (slope * reward_BT).sigmoid()


def exp_released_weights(reward_BT: Tensor, tau: float) -> Tensor:
    """exp(-r / tau) (released DOOR code, `exp_weights` of utils/loss.py), the paper's with the opposite sign. Infinite
    where r / tau < -88 in float32; see `exp_weights`."""
    return (-reward_BT / tau).exp()


def sigmoid_released_weights(reward_BT: Tensor, slope: float) -> Tensor:
    """1 - sigmoid(slope * r) (released DOOR code, `sigmoid_weights` of utils/loss.py), written as sigmoid(-slope * r), which
    keeps its digits where the difference would cancel to 0."""
    return (-slope * reward_BT).sigmoid()


@dataclass(frozen=True)
class TokenWeights:
    """A formula and the name of the W-DOOR setting that it takes."""

    formula: Callable[[Tensor, float], Tensor]
    setting: Literal["tau", "slope"]


TOKEN_WEIGHTS: dict[str, TokenWeights] = {
    "exp": TokenWeights(exp_weights, "tau"),
    "sigmoid": TokenWeights(sigmoid_weights, "slope"),
    "exp_released": TokenWeights(exp_released_weights, "tau"),
    "sigmoid_released": TokenWeights(sigmoid_released_weights, "slope"),
}
