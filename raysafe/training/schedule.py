"""The learning rate over the steps of a run."""

import math

from raysafe.config.sections import TrainingSettings


def lr_at(step: int, total_steps: int, settings: TrainingSettings) -> float:
    """Learning rate of `step` (from 0): linear warm-up from lr / warmup_steps, then constant, or linear or cosine
    towards 0, which the step after the last would have."""
    if step < settings.warmup_steps:
        return settings.lr * (step + 1) / settings.warmup_steps
    if settings.decay == "constant":
        return settings.lr
    done = (step - settings.warmup_steps) / max(1, total_steps - settings.warmup_steps)
    if settings.decay == "linear":
        return settings.lr * (1.0 - done)
    return settings.lr * 0.5 * (1.0 + math.cos(math.pi * done))
