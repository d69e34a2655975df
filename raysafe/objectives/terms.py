"""Alignment terms shared by several objectives."""

from torch import Tensor
from torch.nn.functional import logsigmoid

from raysafe.objectives.base import StreamLogProbs, sequence_log_prob


def log_ratio(stream: StreamLogProbs) -> Tensor:
    """log pi_theta(y|x) - log pi_ref(y|x) per row, shape B."""
    return sequence_log_prob(stream.policy_BT - stream.frozen["reference"].detach(), stream.mask_BT)


def refusal_term(safe: StreamLogProbs) -> Tensor:
    """-log pi_theta(y_s | x + y_h[:k]) per row, shape B (DOOR paper, robust refusal training)."""
    return -sequence_log_prob(safe.policy_BT, safe.mask_BT)


def npo_term(harmful: StreamLogProbs, beta: float) -> Tensor:
    """-(2/beta) log sigmoid(-beta [log pi_theta(y_h|x) - log pi_ref(y_h|x)]) per row, shape B (NPO, arXiv:2404.05868)."""
    return -(2.0 / beta) * logsigmoid(-beta * log_ratio(harmful))


def token_npo_term(harmful: StreamLogProbs, beta: float) -> Tensor:
    """NPO applied to every label token and summed, shape B (W-DOOR paper's unlearning term)."""
    ratio_BT = (harmful.policy_BT - harmful.frozen["reference"].detach()).masked_fill(harmful.mask_BT == 0, 0.0)
    loss_BT = -(2.0 / beta) * logsigmoid(-beta * ratio_BT)
    return sequence_log_prob(loss_BT, harmful.mask_BT)
