"""How long the base model is trained, and at what rate; without torch, for those who only tell of it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Phase:
    """One phase of the base model's training: AdamW, linear warm-up over a tenth of the steps, then linear decay."""

    steps: int
    """Optimiser steps."""
    lr: float
    """Peak learning rate."""
    batch_size: int = 32
    """Rows a step, of similar length."""
    weight_decay: float = 0.0
    """AdamW's decoupled decay."""


KNOWLEDGE = Phase(steps=500, lr=5e-3)
ALIGNMENT = Phase(steps=250, lr=2e-3)
STEPS = KNOWLEDGE.steps + ALIGNMENT.steps
