"""Steps written the way the published code computes them: the thing to be faster than.

DOOR's release pads every row to 512 tokens, calls the model on one stream after the other, keeps full-vocabulary logits at
all positions and runs the frozen models at every step. SEAL's release pads each of its two streams to its longest row.
F is a forward pass of the trained model with gradient, N one of a frozen model without.
The values are those of our formulas (docs/methods.md), so that both ways of computing can be held against each other.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid

from raysafe.data.tokens import TokenRow
from stepbench.methods import POLICY_SEED, SEAL, SEEDS, SETTINGS, Method
from stepbench.rows import MAX_LENGTH, Workload
from stepbench.shapes import Shape, random_model

IGNORED = -100


def padded(rows: Sequence[TokenRow], length: int, device: Any = "cpu") -> dict[str, Tensor]:
    """input_ids, attention_mask and labels of some rows, int64, shape B x length."""
    batch = {name: torch.full((len(rows), length), fill) for name, fill in (("input_ids", 0), ("attention_mask", 0))}
    batch["labels"] = torch.full((len(rows), length), IGNORED)
    for place, row in enumerate(rows):
        ids = torch.tensor(row.input_ids)
        batch["input_ids"][place, : len(ids)] = ids
        batch["attention_mask"][place, : len(ids)] = 1
        batch["labels"][place, row.label_start : len(ids)] = ids[row.label_start :]
    return {name: tensor.to(device) for name, tensor in batch.items()}


def token_log_probs(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """Label log-probabilities from one forward pass with full logits, 0.0 at ignored positions, shape B x (length - 1)."""
    logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    shifted = logits[..., :-1, :].contiguous()
    labels = batch["labels"][..., 1:].contiguous()
    return -cross_entropy(shifted.transpose(-1, -2), labels, ignore_index=IGNORED, reduction="none")


class PublishedStep:
    """One of DOOR's objectives."""

    def __init__(self, method: Method, shape: Shape, work: Workload) -> None:
        self.method, self.work = method, work
        self.model = random_model(shape, POLICY_SEED).train()
        self.frozen = {name: random_model(shape, SEEDS[name]).eval() for name in method.frozen}
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=SETTINGS.lr, weight_decay=SETTINGS.weight_decay)
        self.loss = {"dpo": self._dpo, "door": self._door, "wdoor": self._wdoor}[method.name]

    def step(self, number: int) -> float:
        """Train on the rows of step `number`; returns the loss."""
        size = SETTINGS.batch_size
        batch = {name: padded(self.work.pick(name, number, size), MAX_LENGTH) for name in ("safe", "harmful", "retain")}
        alpha = self.method.objective.alpha  # type: ignore[union-attr]
        align = self.loss(batch["safe"], batch["harmful"])
        retain = -self._policy(batch["retain"]).sum(dim=-1).mean()
        loss = alpha * align + (1 - alpha) * retain
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), SETTINGS.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()

    def _policy(self, batch: dict[str, Tensor]) -> Tensor:
        return token_log_probs(self.model, batch)

    @torch.no_grad()
    def _fixed(self, name: str, batch: dict[str, Tensor]) -> Tensor:
        return token_log_probs(self.frozen[name], batch)

    def _dpo(self, safe: dict[str, Tensor], harmful: dict[str, Tensor]) -> Tensor:
        """2 F + 2 N."""
        beta = self.method.objective.beta  # type: ignore[union-attr]
        policy = [self._policy(batch).sum(dim=-1) for batch in (safe, harmful)]
        reference = [self._fixed("reference", batch).sum(dim=-1) for batch in (safe, harmful)]
        margin = (policy[0] - reference[0]) - (policy[1] - reference[1])
        return (-(2 / beta) * logsigmoid(beta * margin)).mean()

    def _door(self, safe: dict[str, Tensor], harmful: dict[str, Tensor]) -> Tensor:
        """2 F + 1 N."""
        beta = self.method.objective.beta  # type: ignore[union-attr]
        ratio = self._policy(harmful).sum(dim=-1) - self._fixed("reference", harmful).sum(dim=-1)
        npo = (-(2 / beta) * logsigmoid(-beta * ratio)).mean()
        return npo - self._policy(safe).sum(dim=-1).mean()

    def _wdoor(self, safe: dict[str, Tensor], harmful: dict[str, Tensor]) -> Tensor:
        """3 F + 3 N: the release runs the harmful rows twice and uses the second pass; the first one's graph stays alive."""
        objective: Any = self.method.objective
        policy_safe, unused = self._policy(safe), self._policy(harmful)
        reference_safe, reference_harmful = self._fixed("reference", safe), self._fixed("reference", harmful)
        weights = ((self._fixed("proxy", safe) - reference_safe) / objective.tau).exp()
        refusal = -(weights * policy_safe).sum(dim=-1).mean()
        ratio = self._policy(harmful) - reference_harmful
        terms = -(2 / objective.beta) * logsigmoid(-objective.beta * ratio)
        labels = harmful["labels"][..., 1:] != IGNORED
        unlearning = terms.masked_fill(~labels, 0.0).sum(dim=-1).mean()
        del unused
        return refusal + unlearning


class PublishedSeal:
    """SEAL's memory-efficient step: 2 F, one backward, then omega through autograd."""

    def __init__(self, method: Method, shape: Shape, work: Workload) -> None:
        self.work = work
        self.model = random_model(shape, POLICY_SEED).train()
        self.omega = torch.nn.Parameter(torch.zeros(len(work.finetune), dtype=torch.float64))
        parameters = self.model.parameters()
        self.optimizer = torch.optim.AdamW(parameters, lr=SEAL.model_lr, betas=(0.9, 0.95), weight_decay=SETTINGS.weight_decay)
        self.omega_optimizer = torch.optim.SGD([self.omega], lr=SEAL.step_size(SEAL.batch_size))

    def step(self, number: int) -> float:
        """Train on the rows of step `number`; returns (1 - gamma) mean loss of the safe rows + gamma mean loss of D's."""
        places = self.work.places("finetune", number, SEAL.batch_size)
        safe_B = self._row_losses(self.work.pick("trusted", number, SEAL.safe_batch_size))
        finetune_B = self._row_losses(self.work.pick("finetune", number, SEAL.batch_size))
        with torch.no_grad():
            weights_B = self._weights()[places]
        loss = (1 - SEAL.gamma) * safe_B.mean() + SEAL.gamma * (weights_B * finetune_B).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), SETTINGS.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        (self._weights()[places] * finetune_B.detach()).mean().backward()
        self.omega_optimizer.step()
        self.omega_optimizer.zero_grad()
        return ((1 - SEAL.gamma) * safe_B.mean() + SEAL.gamma * finetune_B.mean()).item()

    def _weights(self) -> Tensor:
        return len(self.omega) * torch.softmax(self.omega, dim=0)

    def _row_losses(self, rows: Sequence[TokenRow]) -> Tensor:
        """Mean label loss of each row, shape B; this release hands flat logits to the cross-entropy, which is faster."""
        batch = padded(rows, max(len(row.input_ids) for row in rows))
        logits = self.model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        shifted, labels = logits[..., :-1, :].contiguous(), batch["labels"][..., 1:].contiguous()
        flat = cross_entropy(shifted.view(-1, shifted.shape[-1]), labels.view(-1), ignore_index=IGNORED, reduction="none")
        return flat.view(labels.shape).sum(dim=-1) / (labels != IGNORED).sum(dim=-1)


def published_step(method: Method, shape: Shape, work: Workload) -> PublishedStep | PublishedSeal:
    """The published way of a method's step."""
    return PublishedSeal(method, shape, work) if method.objective is None else PublishedStep(method, shape, work)
