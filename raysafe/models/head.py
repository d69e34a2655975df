"""The vocabulary head at label positions only, chunk by chunk: logits of a whole batch never exist.

A loss on label log-probabilities has the gradient g_t = d loss / d log p_t, and log p_t = z_y - log sum exp z has the gradient
g_t (onehot(y) - softmax(z)) in its logits z. Once g is known, one pass over a chunk gives the log-probability, the gradient in
the hidden state and the gradient in the weight, and the chunk can go. Where a loss is linear in its log-probabilities
(`Objective.linear`) g is known before any of them; the other labels' log-probabilities are computed first, without gradient. A
weight that is not trained (adapters) needs no g in that pass: the gradient in the hidden state is g_t times that of log p_t.
L labels, D hidden width, V vocabulary.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK_LABELS = {"cpu": 128, "cuda": 1024}
"""Labels of one chunk: few enough for a CPU's caches, enough to fill a GPU."""

LossOf = Callable[[Tensor], Tensor]
"""Label log-probabilities, shape L, to a scalar loss."""
LossAndLogProbs = tuple[Tensor | None, Tensor]


class LabelHead(torch.nn.Module):
    """Shares the weight of a plain linear head without bias; `softcap` bounds its logits as Gemma 2 does."""

    def __init__(self, weight_VD: torch.nn.Parameter, softcap: float | None = None) -> None:
        super().__init__()
        self.weight = weight_VD
        self.softcap = softcap

    def forward(self, hidden_LD: Tensor, labels_L: Tensor, linear_L: Tensor, loss_of: LossOf | None) -> LossAndLogProbs:
        """(loss, log_probs_L): the loss with its gradient in hidden state and weight, None without `loss_of`; log_probs_L float32
        (float64 for a float64 model), without gradient. linear_L: bool, labels in which the loss is linear."""
        if loss_of is None:
            return None, self._log_probs(hidden_LD, labels_L)
        if not self.weight.requires_grad:
            log_probs_L = _Fixed.apply(hidden_LD, self.weight, labels_L, self.softcap)
            return loss_of(log_probs_L), log_probs_L.detach()
        gradient_L = self._gradient(hidden_LD, labels_L, linear_L, loss_of)
        surrogate, log_probs_L = _Fused.apply(hidden_LD, self.weight, (labels_L, gradient_L), self.softcap)
        with torch.no_grad():
            value = loss_of(log_probs_L)
        return surrogate + (value - surrogate.detach()), log_probs_L

    def _gradient(self, hidden_LD: Tensor, labels_L: Tensor, linear_L: Tensor, loss_of: LossOf) -> Tensor:
        """d loss / d log_probs, shape L."""
        log_probs_L = hidden_LD.new_zeros(len(labels_L), dtype=_compute_dtype(hidden_LD))
        unknown_L = ~linear_L
        if unknown_L.any():
            log_probs_L[unknown_L] = self._log_probs(hidden_LD[unknown_L], labels_L[unknown_L])
        with torch.enable_grad():
            leaf_L = log_probs_L.requires_grad_()
            loss = loss_of(leaf_L)
            (gradient_L,) = torch.autograd.grad(loss, leaf_L)
        return gradient_L

    @torch.no_grad()
    def _log_probs(self, hidden_LD: Tensor, labels_L: Tensor) -> Tensor:
        parts = [
            _log_softmax(hidden_CD, self.weight, labels_C, self.softcap)[0]
            for hidden_CD, labels_C in zip(*_chunks(hidden_LD, labels_L), strict=True)
        ]
        return torch.cat(parts)


class CheckpointedHead(torch.nn.Module):
    """Any head, as one with an adapter or a bias: chunks under checkpointing, at the cost of a second pass over the logits."""

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.head = head

    def forward(self, hidden_LD: Tensor, labels_L: Tensor, linear_L: Tensor, loss_of: LossOf | None) -> LossAndLogProbs:
        """As `LabelHead`'s."""
        parts = [
            checkpoint(self._chunk, hidden_CD, labels_C, use_reentrant=False)
            for hidden_CD, labels_C in zip(*_chunks(hidden_LD, labels_L), strict=True)
        ]
        log_probs_L = torch.cat(parts)
        return (None if loss_of is None else loss_of(log_probs_L)), log_probs_L.detach()

    def _chunk(self, hidden_CD: Tensor, labels_C: Tensor) -> Tensor:
        logits_CV = self.head(hidden_CD)
        return -torch.nn.functional.cross_entropy(logits_CV.to(_compute_dtype(logits_CV)), labels_C, reduction="none")


class _Fused(torch.autograd.Function):
    """(sum of g_t log p_t, log_probs_L); the gradient in hidden state and weight is taken on the way forward."""

    @staticmethod
    def forward(
        ctx: Any, hidden_LD: Tensor, weight_VD: Tensor, targets: tuple[Tensor, Tensor], softcap: float | None
    ) -> tuple[Tensor, Tensor]:
        labels_L, gradient_L = targets
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        hidden_grad_LD = torch.empty_like(hidden_LD) if wants_hidden else None
        weight_grad_VD = torch.zeros_like(weight_VD, dtype=_compute_dtype(weight_VD)) if wants_weight else None
        log_probs_L = torch.empty_like(gradient_L)
        start = 0
        for hidden_CD, labels_C in zip(*_chunks(hidden_LD, labels_L), strict=True):
            part = slice(start, start + len(labels_C))
            log_probs_L[part], every_CV, slope = _log_softmax(hidden_CD, weight_VD, labels_C, softcap)
            push_CV = _push(every_CV, labels_C, gradient_L[part], slope).to(hidden_CD.dtype)
            if hidden_grad_LD is not None:
                torch.mm(push_CV, weight_VD, out=hidden_grad_LD[part])
            if weight_grad_VD is not None:
                _add_product(weight_grad_VD, push_CV, hidden_CD)
            start = part.stop
        ctx.save_for_backward(hidden_grad_LD, weight_grad_VD)
        ctx.weight_dtype = weight_VD.dtype
        ctx.mark_non_differentiable(log_probs_L)
        return (gradient_L * log_probs_L).sum(), log_probs_L

    @staticmethod
    def backward(ctx: Any, *outer: Any) -> tuple[Tensor | None, ...]:
        hidden_grad_LD, weight_grad_VD = ctx.saved_tensors
        scale = outer[0]
        if weight_grad_VD is not None:
            weight_grad_VD = weight_grad_VD.mul_(scale).to(ctx.weight_dtype)
        if hidden_grad_LD is not None:
            hidden_grad_LD = hidden_grad_LD * scale.to(hidden_grad_LD.dtype)
        return hidden_grad_LD, weight_grad_VD, None, None


class _Fixed(torch.autograd.Function):
    """log_probs_L under a weight that is not trained; their gradient in the hidden state is taken on the way forward."""

    @staticmethod
    def forward(ctx: Any, hidden_LD: Tensor, weight_VD: Tensor, labels_L: Tensor, softcap: float | None) -> Tensor:
        log_probs, units = [], []
        for hidden_CD, labels_C in zip(*_chunks(hidden_LD, labels_L), strict=True):
            log_probs_C, every_CV, slope_CV = _log_softmax(hidden_CD, weight_VD, labels_C, softcap)
            push_CV = _push(every_CV, labels_C, torch.ones_like(log_probs_C), slope_CV)
            log_probs.append(log_probs_C)
            units.append(push_CV.to(hidden_CD.dtype) @ weight_VD)
        ctx.save_for_backward(torch.cat(units))
        return torch.cat(log_probs)

    @staticmethod
    def backward(ctx: Any, *outer: Any) -> tuple[Tensor | None, ...]:
        (unit_LD,) = ctx.saved_tensors
        return unit_LD * outer[0][:, None].to(unit_LD.dtype), None, None, None


def _log_softmax(
    hidden_CD: Tensor, weight_VD: Tensor, labels_C: Tensor, softcap: float | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """(log_probs_C of the labels, log_probs_CV of the vocabulary, slope_CV of a soft cap)."""
    logits_CV = (hidden_CD @ weight_VD.T).to(_compute_dtype(hidden_CD))
    slope_CV = None
    if softcap is not None:
        bounded_CV = torch.tanh(logits_CV / softcap)
        logits_CV, slope_CV = softcap * bounded_CV, 1.0 - bounded_CV**2
    every_CV = torch.log_softmax(logits_CV, dim=-1)
    return every_CV.gather(1, labels_C[:, None])[:, 0], every_CV, slope_CV


def _push(every_CV: Tensor, labels_C: Tensor, gradient_C: Tensor, slope_CV: Tensor | None) -> Tensor:
    """g_t (onehot(y) - softmax(z)), the gradient in the raw logits, in the memory of the log-probabilities."""
    push_CV = every_CV.exp_().mul_(-gradient_C[:, None])
    push_CV.scatter_add_(1, labels_C[:, None], gradient_C[:, None])
    return push_CV if slope_CV is None else push_CV.mul_(slope_CV)


def _add_product(total_VD: Tensor, push_CV: Tensor, hidden_CD: Tensor) -> None:
    if push_CV.dtype == total_VD.dtype:
        total_VD.addmm_(push_CV.T, hidden_CD)
    else:
        total_VD.add_(push_CV.T @ hidden_CD)


def _chunks(hidden_LD: Tensor, labels_L: Tensor) -> tuple[Any, Any]:
    size = CHUNK_LABELS.get(hidden_LD.device.type, 1024)
    return hidden_LD.split(size), labels_L.split(size)


def _compute_dtype(like: Tensor) -> torch.dtype:
    return torch.float64 if like.dtype == torch.float64 else torch.float32
