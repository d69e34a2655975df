"""The vocabulary head at label positions only, chunk by chunk: logits of a whole batch never exist.

A loss on label log-probabilities has the gradient g_t = d loss / d log p_t, and log p_t = z_y - log sum exp z has the gradient
g_t (onehot(y) - softmax(z)) in its logits z. Once g is known, one pass over a chunk gives the log-probability, the gradient in
the hidden state and the gradient in the weight, and the chunk can go. Where a loss is linear in its log-probabilities
(`Objective.linear`) g is known before any of them; the other labels' log-probabilities are computed first, without gradient. A
weight that is not trained (adapters) needs no g in that pass: the gradient in the hidden state is g_t times that of log p_t.
L labels, C of them in a chunk, E hidden width, V vocabulary.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from raysafe.data.batches import whole_blocks

CHUNK_LABELS = {"cpu": 128, "cuda": 1024}
"""Labels of one chunk: few enough for a CPU's caches, enough to fill a GPU."""

LossOf = Callable[[Tensor], Tensor]
"""Label log-probabilities, shape L, to a scalar loss."""
LossAndLogProbs = tuple[Tensor | None, Tensor]


class LabelHead(torch.nn.Module):
    """Shares the weight of a plain linear head without bias; `softcap` bounds its logits as Gemma 2 does."""

    def __init__(self, weight_VE: torch.nn.Parameter, softcap: float | None = None) -> None:
        super().__init__()
        self.weight = weight_VE
        self.softcap = softcap

    def forward(self, hidden_LE: Tensor, labels_L: Tensor, linear_L: Tensor, loss_of: LossOf | None) -> LossAndLogProbs:
        """(loss, log_probs_L): the loss with its gradient in hidden state and weight, None without `loss_of`; log_probs_L float32
        (float64 for a float64 model), without gradient. linear_L: bool, labels in which the loss is linear."""
        if loss_of is None:
            return None, self._log_probs(hidden_LE, labels_L)
        if not self.weight.requires_grad:
            log_probs_L = _Fixed.apply(hidden_LE, self.weight, labels_L, self.softcap)
            return loss_of(log_probs_L), log_probs_L.detach()
        gradient_L = self._gradient(hidden_LE, labels_L, linear_L, loss_of)
        surrogate, log_probs_L = _Fused.apply(hidden_LE, self.weight, (labels_L, gradient_L), self.softcap)
        with torch.no_grad():
            value = loss_of(log_probs_L)
        return surrogate + (value - surrogate.detach()), log_probs_L

    @torch.no_grad()
    def logits(self, hidden_LE: Tensor) -> Tensor:
        """What the softmax is taken of, shape LV, in float32 (float64 for a float64 model), without gradient: for few labels, as
        all of them are there at once."""
        logits_LV = (hidden_LE @ self.weight.T).to(_compute_dtype(hidden_LE))
        return logits_LV if self.softcap is None else self.softcap * torch.tanh(logits_LV / self.softcap)

    def _gradient(self, hidden_LE: Tensor, labels_L: Tensor, linear_L: Tensor, loss_of: LossOf) -> Tensor:
        """d loss / d log_probs, shape L."""
        log_probs_L = hidden_LE.new_zeros(len(labels_L), dtype=_compute_dtype(hidden_LE))
        unknown_L = ~linear_L
        if unknown_L.any():
            log_probs_L[unknown_L] = self._log_probs(hidden_LE[unknown_L], labels_L[unknown_L])
        with torch.enable_grad():
            leaf_L = log_probs_L.requires_grad_()
            loss = loss_of(leaf_L)
            (gradient_L,) = torch.autograd.grad(loss, leaf_L)
        return gradient_L

    @torch.no_grad()
    def _log_probs(self, hidden_LE: Tensor, labels_L: Tensor) -> Tensor:
        return torch.cat([chunk.log_probs_C for chunk in _chunks(hidden_LE, self.weight, labels_L, self.softcap)])


class CheckpointedHead(torch.nn.Module):
    """Any head, as one with an adapter or a bias: chunks under checkpointing, at the cost of a second pass over the logits."""

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.head = head

    def forward(self, hidden_LE: Tensor, labels_L: Tensor, linear_L: Tensor, loss_of: LossOf | None) -> LossAndLogProbs:
        """As `LabelHead`'s."""
        size = chunk_size(hidden_LE)
        parts = [
            checkpoint(self._chunk, hidden_CE, labels_C, use_reentrant=False)
            for hidden_CE, labels_C in zip(hidden_LE.split(size), labels_L.split(size), strict=True)
        ]
        log_probs_L = torch.cat(parts)
        return (None if loss_of is None else loss_of(log_probs_L)), log_probs_L.detach()

    @torch.no_grad()
    def logits(self, hidden_LE: Tensor) -> Tensor:
        """As `LabelHead`'s."""
        return self.head(hidden_LE).to(_compute_dtype(hidden_LE))

    def _chunk(self, hidden_CE: Tensor, labels_C: Tensor) -> Tensor:
        """To the bit what `_chunks` computes."""
        logits_CV = self.head(_in_blocks(hidden_CE))[: len(labels_C)]
        logits_CV = logits_CV.to(_compute_dtype(logits_CV))
        chosen_C1 = logits_CV.gather(1, labels_C[:, None])
        largest_C1 = logits_CV.detach().amax(dim=1, keepdim=True)
        sums_C1 = (logits_CV - largest_C1).exp().sum(dim=1, keepdim=True)
        return (chosen_C1 - largest_C1 - sums_C1.log())[:, 0]


class _Fused(torch.autograd.Function):
    """(sum of g_t log p_t, log_probs_L); the gradient in hidden state and weight is taken on the way forward."""

    @staticmethod
    def forward(
        ctx: Any, hidden_LE: Tensor, weight_VE: Tensor, targets: tuple[Tensor, Tensor], softcap: float | None
    ) -> tuple[Tensor, Tensor]:
        labels_L, gradient_L = targets
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        hidden_grad_LE = torch.empty_like(hidden_LE) if wants_hidden else None
        weight_grad_VE = torch.empty_like(weight_VE, dtype=_compute_dtype(weight_VE)) if wants_weight else None
        log_probs_L = torch.empty_like(gradient_L)
        for chunk in _chunks(hidden_LE, weight_VE, labels_L, softcap):
            log_probs_L[chunk.part] = chunk.log_probs_C
            push_CV = chunk.push(gradient_L[chunk.part])
            if hidden_grad_LE is not None:
                torch.mm(push_CV, weight_VE, out=hidden_grad_LE[chunk.part])
            if weight_grad_VE is not None:
                _add_product(weight_grad_VE, push_CV, hidden_LE[chunk.part], first=chunk.part.start == 0)
        ctx.save_for_backward(hidden_grad_LE, weight_grad_VE)
        ctx.weight_dtype = weight_VE.dtype
        ctx.mark_non_differentiable(log_probs_L)
        return (gradient_L * log_probs_L).sum(), log_probs_L

    @staticmethod
    def backward(ctx: Any, *outer: Any) -> tuple[Tensor | None, ...]:
        hidden_grad_LE, weight_grad_VE = ctx.saved_tensors
        scale = outer[0]
        if weight_grad_VE is not None:
            weight_grad_VE = weight_grad_VE.to(ctx.weight_dtype)
        if scale.device.type != "cpu" or scale.item() != 1.0:  # reading it would make a GPU wait
            hidden_grad_LE, weight_grad_VE = (
                None if gradient is None else gradient * scale.to(gradient.dtype) for gradient in (hidden_grad_LE, weight_grad_VE)
            )
        return hidden_grad_LE, weight_grad_VE, None, None


class _Fixed(torch.autograd.Function):
    """log_probs_L under a weight that is not trained; their gradient in the hidden state is taken on the way forward."""

    @staticmethod
    def forward(ctx: Any, hidden_LE: Tensor, weight_VE: Tensor, labels_L: Tensor, softcap: float | None) -> Tensor:
        log_probs, units = [], []
        for chunk in _chunks(hidden_LE, weight_VE, labels_L, softcap):
            log_probs.append(chunk.log_probs_C)
            units.append(chunk.push(torch.ones_like(chunk.log_probs_C)) @ weight_VE)
        ctx.save_for_backward(torch.cat(units))
        return torch.cat(log_probs)

    @staticmethod
    def backward(ctx: Any, *outer: Any) -> tuple[Tensor | None, ...]:
        (unit_LE,) = ctx.saved_tensors
        return unit_LE * outer[0][:, None].to(unit_LE.dtype), None, None, None


@dataclass(frozen=True)
class _Chunk:
    """Labels `part` of all. exp_CV: exp(z - max z), in memory that the next chunk takes over; sums_C1: its row sums.

    slope_CV: how fast a soft cap lets the raw logits through, or None.
    """

    part: slice
    labels_C: Tensor
    log_probs_C: Tensor
    exp_CV: Tensor
    sums_C1: Tensor
    slope_CV: Tensor | None
    dtype: torch.dtype

    def push(self, gradient_C: Tensor) -> Tensor:
        """g_t (onehot(y) - softmax(z)), the gradient in the raw logits, in the hidden state's dtype; once a chunk."""
        gradient_C1 = gradient_C[:, None]
        push_CV = self.exp_CV.mul_(-gradient_C1 / self.sums_C1).scatter_add_(1, self.labels_C[:, None], gradient_C1)
        return (push_CV if self.slope_CV is None else push_CV.mul_(self.slope_CV)).to(self.dtype)


def _chunks(hidden_LE: Tensor, weight_VE: Tensor, labels_L: Tensor, softcap: float | None) -> Iterator[_Chunk]:
    """Chunk by chunk, all in one piece of memory: on a CPU fresh pages cost as much as the arithmetic on them."""
    size = chunk_size(hidden_LE)
    wide = _compute_dtype(hidden_LE)
    room_CV = hidden_LE.new_empty(whole_blocks(min(size, len(labels_L))), len(weight_VE))
    for start in range(0, len(labels_L), size):
        part = slice(start, min(start + size, len(labels_L)))
        hidden_CE, count = _in_blocks(hidden_LE[part]), part.stop - start
        logits_CV = torch.mm(hidden_CE, weight_VE.T, out=room_CV[: len(hidden_CE)])[:count].to(wide)
        slope_CV = None
        if softcap is not None:
            logits_CV = logits_CV.div_(softcap).tanh_()
            slope_CV = 1.0 - logits_CV**2
            logits_CV.mul_(softcap)
        chosen_C1 = logits_CV.gather(1, labels_L[part, None])
        largest_C1 = logits_CV.amax(dim=1, keepdim=True)
        exp_CV = logits_CV.sub_(largest_C1).exp_()
        sums_C1 = exp_CV.sum(dim=1, keepdim=True)
        log_probs_C = (chosen_C1 - largest_C1 - sums_C1.log())[:, 0]
        yield _Chunk(part, labels_L[part], log_probs_C, exp_CV, sums_C1, slope_CV, hidden_LE.dtype)


def _in_blocks(hidden_CE: Tensor) -> Tensor:
    """Rows in whole blocks, filled up with zeros."""
    missing = whole_blocks(len(hidden_CE)) - len(hidden_CE)
    return torch.nn.functional.pad(hidden_CE, (0, 0, 0, missing)) if missing else hidden_CE


def _add_product(total_VE: Tensor, push_CV: Tensor, hidden_CE: Tensor, first: bool) -> None:
    """total_VE += push^T hidden, or = for the first."""
    if push_CV.dtype != total_VE.dtype:
        product_VE = push_CV.T @ hidden_CE
        total_VE.copy_(product_VE) if first else total_VE.add_(product_VE)
    elif first:
        torch.mm(push_CV.T, hidden_CE, out=total_VE)
    else:
        total_VE.addmm_(push_CV.T, hidden_CE)


def chunk_size(hidden_LE: Tensor) -> int:
    """Labels of one chunk on the device of the hidden state."""
    return CHUNK_LABELS.get(hidden_LE.device.type, CHUNK_LABELS["cuda"])


def _compute_dtype(like: Tensor) -> torch.dtype:
    return torch.float64 if like.dtype == torch.float64 else torch.float32
