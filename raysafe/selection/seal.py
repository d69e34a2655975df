"""SEAL's selector (ICLR 2025, arXiv:2410.07471): its settings and its two updates on plain tensors.

Penalised single level, gamma in [0, 1): (1 - gamma) L_safe(theta) + gamma [L_D(theta, omega) - min L_D], with
L_D(theta, omega) = (1/N) sum_i w_i(omega) l(theta; z_i). Algorithm 2 (memory-efficient), per step:
theta <- theta - lr [(1-gamma) grad l(theta; z_s) + gamma w_j grad l(theta; z_j)], omega <- omega - lr_omega l_j grad w_j.
N rows of the data set, B rows of a batch.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from raysafe.errors import require
from raysafe.selection.base import ScoredBy

Weighting = Literal["softmax", "sigmoid"]


@dataclass(frozen=True)
class Seal:
    """SEAL, Algorithm 2. Defaults are the paper's for Llama-3-8B, but for gamma, which it ablates."""

    name: ClassVar[str] = "seal"
    scored_by: ClassVar[ScoredBy] = "training"
    keeps_all: ClassVar[bool] = False

    gamma: float = 0.1
    """Penalty strength: the constant, or with `schedule: linear` its value in the first epoch."""
    schedule: Literal["constant", "linear"] = "constant"
    """How gamma moves over the epochs."""
    increment: float = 0.0
    """What `linear` adds to gamma per epoch (the paper: from 0, +0.03 for Llama-3-8B)."""
    weights: Weighting = "softmax"
    """w = N softmax(omega), or w = 2 sigmoid(omega)."""
    lr: float = 5e-3
    """Step size of omega (plain SGD)."""
    model_lr: float = 1e-5
    """Step size of theta (AdamW, betas 0.9 and 0.95)."""
    epochs: int = 3
    """Passes over the fine-tuning data."""
    batch_size: int = 64
    """Rows of the fine-tuning data per optimiser step, over all workers."""
    safe_batch_size: int = 64
    """Rows of the safe data per optimiser step, over all workers."""
    accumulation: int = 1
    """Micro-batches per optimiser step."""

    def __post_init__(self) -> None:
        require(0 <= self.gamma < 1, "0 <= gamma < 1", self.gamma)
        linear = self.schedule == "linear"
        require(linear == (self.increment != 0), "increment is given exactly when schedule is linear", self.increment)
        last = self.gamma_at(self.epochs - 1)
        require(0 <= last < 1, "0 <= gamma + increment * (epochs - 1) < 1", last)
        for name in ("lr", "model_lr", "epochs", "batch_size", "safe_batch_size", "accumulation"):
            require(getattr(self, name) > 0, f"{name} > 0", getattr(self, name))

    def gamma_at(self, epoch: int) -> float:
        """gamma in the given epoch, counted from 0."""
        return self.gamma + self.increment * epoch

    def scores(self, rows: int, seed: int) -> Tensor:
        """omega before the first step: all rows equal, shape N, float64."""
        return torch.zeros(rows, dtype=torch.float64)


def row_weights(omega_N: Tensor, weighting: Weighting) -> Tensor:
    """w(omega), shape N: N softmax(omega), of mean 1, or 2 sigmoid(omega)."""
    if weighting == "softmax":
        return len(omega_N) * torch.softmax(omega_N, dim=0)
    return 2.0 * torch.sigmoid(omega_N)


def omega_gradient(omega_N: Tensor, rows_B: Tensor, losses_B: Tensor, weighting: Weighting) -> Tensor:
    """Gradient of (1/B) sum_j l_j w_j(omega) in omega, l detached, shape N.

    softmax: dw_j/domega_i = w_j (1[i=j] - w_i / N), so every row moves; sigmoid: dw_j/domega_j = w_j (1 - w_j / 2).
    rows_B: int64 indices into omega, repeats allowed. losses_B: l(theta; z_j), length-normalised NLL.
    """
    weights_N = row_weights(omega_N, weighting)
    losses_B = losses_B.detach().to(omega_N.dtype)
    pull_B = losses_B * weights_N[rows_B] / len(rows_B)
    if weighting == "sigmoid":
        pull_B = pull_B * (1.0 - weights_N[rows_B] / 2.0)
    gradient_N = torch.zeros_like(omega_N).index_add_(0, rows_B, pull_B)
    if weighting == "softmax":
        gradient_N -= pull_B.sum() * weights_N / len(omega_N)
    return gradient_N


def omega_step(omega_N: Tensor, rows_B: Tensor, losses_B: Tensor, lr: float, weighting: Weighting) -> Tensor:
    """omega after one SGD step of Algorithm 2, shape N."""
    return omega_N - lr * omega_gradient(omega_N, rows_B, losses_B, weighting)


def theta_losses(safe_B: Tensor, finetune_B: Tensor, weights_B: Tensor, gamma: float) -> dict[str, Tensor]:
    """What theta descends, per row and stream: (1-gamma) l(z_s) and gamma w_j l(z_j); means over the batch are summed.

    weights_B: w_j(omega) of the rows of `finetune_B`, taken before this step's update of omega, without gradient.
    """
    return {"safe": (1.0 - gamma) * safe_B, "finetune": gamma * weights_B.detach().to(finetune_B.dtype) * finetune_B}
