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


def padded_mean(stream: StreamLogProbs) -> Tensor:
    """The mean of log pi_theta over `padded` positions per row, shape B: labels count, all other positions are 0.

    The released DOOR code takes such means (`get_batch_loss` in utils/loss.py), so its loss falls with the padding.
    """
    positions = stream.policy_BT.shape[-1] if stream.padded is None else stream.padded
    return sequence_log_prob(stream.policy_BT, stream.mask_BT) / positions
