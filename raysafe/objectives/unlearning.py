"""W-DOOR's unlearning terms: what is minimised on harmful answers. Each gives one loss a row, float, shape B."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import logsigmoid

from raysafe.objectives.base import FrozenModel, StreamLogProbs, sequence_log_prob
from raysafe.objectives.terms import npo_term


def token_term(harmful: StreamLogProbs, beta: float) -> Tensor:
    """sum_t -(2/beta) log sigmoid(-beta [log pi_theta(y_h,t) - log pi_ref(y_h,t)]): NPO of every label token, summed
    (W-DOOR, arXiv:2503.03710)."""
    ratio_BT = (harmful.policy_BT - harmful.frozen["reference"].detach()).masked_fill(harmful.mask_BT == 0, 0.0)
    loss_BT = -(2.0 / beta) * logsigmoid(-beta * ratio_BT)
    return sequence_log_prob(loss_BT, harmful.mask_BT)


def released_term(harmful: StreamLogProbs, beta: float, margin: float) -> Tensor:
    """-(2/beta) log sigmoid(-beta log pi_theta(y_h|x) / len - margin), len = attended tokens of prompt and answer.

    From the released DOOR code (`wgdnpo_loss` of utils/loss.py); it has no reference. There the term is summed over the
    batch, which is `released_sum_term`; this is its mean, on the scale of the other terms.
    Raises ValueError if the stream brings no `lengths_B`.
    """
    if harmful.lengths_B is None:
        raise ValueError("`lengths_B` of the harmful stream is needed by the unlearning terms released and released_sum")
    mean_B = sequence_log_prob(harmful.policy_BT, harmful.mask_BT) / harmful.lengths_B
    return -(2.0 / beta) * logsigmoid(-beta * mean_B - margin)


def released_sum_term(harmful: StreamLogProbs, beta: float, margin: float) -> Tensor:
    """`released_term` times the rows of the step, so that the mean over the rows is the sum that the released code takes:
    against the refusal and retain terms, which are means there too, it counts more the larger the batch."""
    rows = harmful.policy_BT.shape[0] if harmful.step_rows is None else harmful.step_rows
    return rows * released_term(harmful, beta, margin)


@dataclass(frozen=True)
class Unlearning:
    """A formula, the names of the W-DOOR settings that it takes, and the frozen models that it reads."""

    formula: Callable[..., Tensor]
    settings: tuple[str, ...]
    frozen: tuple[FrozenModel, ...]


UNLEARNING: dict[str, Unlearning] = {
    "token": Unlearning(token_term, ("beta",), ("reference",)),
    "sequence": Unlearning(npo_term, ("beta",), ("reference",)),
    "released": Unlearning(released_term, ("beta", "margin"), ()),
    "released_sum": Unlearning(released_sum_term, ("beta", "margin"), ()),
}
