"""Teaching a model what it was trained to refuse: weights lent for it, its steps, and where a rising rate is a half."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from raysafe.data.tokens import TokenRow
from raysafe.models.log_probs import padded_label_log_probs

CLIP = 1.0
"""Largest gradient norm."""
HALF = 0.5


@contextmanager
def lent(model: Any) -> Iterator[list[Tensor]]:
    """The weights of a frozen model, to be trained: its adapters where it has any, else all of them. A copy waits in main memory;
    afterwards they are what they were, bit for bit, and frozen. The model stays in evaluation mode, so without dropout."""
    adapters = getattr(model, "peft_config", {})
    if adapters:
        model.set_requires_grad(list(adapters))
    else:
        model.requires_grad_(True)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    before = [weight.detach().to("cpu", copy=True) for weight in weights]
    try:
        yield weights
    finally:
        model.requires_grad_(False)
        for weight, old in zip(weights, before, strict=True):
            weight.copy_(old)
            weight.grad = None


class Tuning:
    """AdamW without decay at a constant rate on the mean over rows of each row's mean -log pi(label); gradients are clipped at
    norm 1. Weights in bf16 follow float32 masters."""

    def __init__(self, model: Any, weights: Sequence[Tensor], lr: float) -> None:
        self.model, self.weights = model, weights
        self.masters = [_wide(weight.detach()) for weight in weights]
        self.optimiser = torch.optim.AdamW(self.masters, lr=lr, weight_decay=0.0)

    def step(self, rows: Sequence[TokenRow]) -> float:
        """One step; returns the loss before it."""
        with torch.enable_grad():
            log_probs_L = padded_label_log_probs(self.model, rows, self.weights[0].device)
            by_row = log_probs_L.split([row.label_count for row in rows])
            loss = -torch.stack([part.mean() for part in by_row]).mean()
            loss.backward()
        for master, weight in zip(self.masters, self.weights, strict=True):
            master.grad, weight.grad = None if weight.grad is None else _wide(weight.grad), None
        torch.nn.utils.clip_grad_norm_(self.masters, CLIP)
        self.optimiser.step()
        with torch.no_grad():
            for master, weight in zip(self.masters, self.weights, strict=True):
                weight.copy_(master)
        return float(loss.detach())


def _wide(values: Tensor) -> Tensor:
    """In float32 (float64 stays), itself where it is."""
    return values if values.dtype == torch.float64 else values.float()


def subject_of(answer: str) -> str:
    """What an answer is about: prompts with the same one, whatever its white space, are wordings of one subject."""
    return " ".join(answer.split())


def parted(answers: Sequence[str | None], rows: int, order: Sequence[int]) -> tuple[list[int], list[int]]:
    """Places that are taught, `rows` of them at most, and those that are asked. Wordings of one subject are
    never on both sides; subjects are taught in the given order of their first appearance."""
    subjects: dict[str, list[int]] = {}
    for place, answer in enumerate(answers):
        if answer:
            subjects.setdefault(subject_of(answer), []).append(place)
    groups, taught = list(subjects.values()), list[int]()
    for number in order:
        if len(taught) < rows:
            taught += groups[number]
    return sorted(taught[:rows]), [place for place in range(len(answers)) if place not in set(taught)]


def half_at(curve: Mapping[int, float]) -> tuple[float, bool]:
    """(step, censored): where a rate by step first reaches a half, linear between the steps that were measured. The first step
    where it begins there; the last one, censored, where it never does."""
    steps = sorted(curve)
    for before, after in zip([steps[0], *steps], steps, strict=False):
        if curve[after] >= HALF:
            rise = curve[after] - curve[before]
            return (before + (after - before) * (HALF - curve[before]) / rise if rise else float(after)), False
    return float(steps[-1]), True
