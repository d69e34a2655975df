"""SEAL's selector (ICLR 2025, arXiv:2410.07471): its settings and its updates on plain tensors.

Penalised single level, gamma in [0, 1): (1 - gamma) L_safe(theta) + gamma [L_D(theta, omega) - min L_D], with
L_D(theta, omega) = (1/N) sum_i w_i(omega) l(theta; z_i). Per step, with batches z_s of D_safe and z_j of D:

  Algorithm 2 (memory-efficient)
    theta <- theta - lr [(1-gamma) grad l(theta; z_s) + gamma w_j grad l(theta; z_j)]       `theta_losses`
    omega <- omega - lr_omega l(theta; z_j) grad w_j                                        `omega_update`
  Algorithm 1 (full), a second model theta^ follows min L_D:
    theta^ <- theta^ - lr w_j grad l(theta^; z_j)                                           `theta_hat_losses`
    omega <- omega - lr_omega [l(theta; z_j) - l(theta^; z_j)] grad w_j                     `omega_pull`, `omega_update`

Every line uses the omega from before the step. N rows of the data set, B rows of a batch.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from raysafe.errors import require
from raysafe.selection.base import Learned, SelectorStream, Visit
from raysafe.selection.gammas import Schedule, resolved

Weighting = Literal["softmax", "sigmoid"]
OmegaOptimizer = Literal["sgd", "adamw_released"]
RELEASED_BETAS = (0.9, 0.95)
RELEASED_EPS = 1e-8
RELEASED_CLIP = 10.0
"""Largest norm of omega's gradient with `adamw_released`."""
DEFAULT_LR: dict[OmegaOptimizer, float] = {"sgd": 0.1, "adamw_released": 5e-3}
"""sgd: losses of 1 to 4 nats and 3 visits a row leave softmax weights of about .6 to 1.8, whatever N and the batch, so that theta
hears of them (docs/methods.md); from .2 on steps overshoot there, and one row may end with all the weight."""


@dataclass(frozen=True)
class Seal(Learned):
    """SEAL. Defaults are the paper's for Llama-3-8B, but for gamma, which it ablates, and omega's step size."""

    name: ClassVar[str] = "seal"

    gamma: float | None = None
    """Penalty strength: the constant, or with `schedule: linear` its value in the first epoch; 0.1 where it is left out. A
    schedule that gives the values themselves leaves no room for it: it is None then."""
    schedule: Schedule = "constant"
    """How gamma moves over the epochs: `constant`, `linear`, or the values themselves: a list with one gamma an epoch, a
    callable of the epoch (from 0), or the import path `package.module:function` of one. Once made, a Seal holds the values."""
    increment: float = 0.0
    """What `linear` adds to gamma per epoch (the paper: from 0, +0.03 for Llama-3-8B)."""
    algorithm: Literal[1, 2] = 2
    """2, the memory-efficient one of the paper's main experiments, or 1, the full one with a second model theta^."""
    weights: Weighting = "softmax"
    """w = N softmax(omega), or w = 2 sigmoid(omega)."""
    optimizer: OmegaOptimizer = "sgd"
    """What steps omega: `sgd` (the paper), or `adamw_released` (the released code: AdamW, betas 0.9 and 0.95, no decay)."""
    lr: float | None = None
    """With `sgd` what one visit does to a row: it moves omega_j by -lr pull_j dw_j/domega_j, whatever N and the batch size are.
    With `adamw_released` AdamW's step size. Left out it is 0.1 or 5e-3; once made, a Seal holds the number."""
    model_lr: float = 1e-5
    """Step size of theta and of theta^ (AdamW, betas 0.9 and 0.95)."""
    epochs: int = 3
    """Passes over the fine-tuning data."""
    batch_size: int = 64
    """Rows of the fine-tuning data per optimiser step, over all workers."""
    safe_batch_size: int = 64
    """Rows of the safe data per optimiser step, over all workers."""
    accumulation: int = 1
    """Micro-batches per optimiser step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "lr", DEFAULT_LR[self.optimizer] if self.lr is None else self.lr)
        require(self.lr is not None and self.lr > 0, "lr > 0", self.lr)
        schedule = resolved(self.schedule, self.epochs)
        object.__setattr__(self, "schedule", schedule)
        linear = schedule == "linear"
        require(linear == (self.increment != 0), "increment is given exactly when schedule is linear", self.increment)
        if isinstance(schedule, tuple):
            require(self.gamma is None, "gamma is left out when schedule gives the values itself", self.gamma)
            return
        object.__setattr__(self, "gamma", 0.1 if self.gamma is None else self.gamma)
        require(0 <= self.gamma_at(0) < 1, "0 <= gamma < 1", self.gamma)
        last = self.gamma_at(self.epochs - 1)
        require(0 <= last < 1, "0 <= gamma + increment * (epochs - 1) < 1", last)

    def gamma_at(self, epoch: int) -> float:
        """gamma in the given epoch, counted from 0."""
        if isinstance(self.schedule, tuple):
            return float(self.schedule[epoch])
        assert self.gamma is not None  # __post_init__
        return self.gamma + self.increment * epoch

    def step_size(self, rows: int) -> float:
        """What `omega_update` takes for a step on so many rows: it steps on their mean, sgd's `lr` says what each visit does."""
        assert self.lr is not None  # __post_init__
        return self.lr * rows if self.optimizer == "sgd" else self.lr

    def models(self) -> Mapping[str, tuple[SelectorStream, ...]]:
        """theta, and with Algorithm 1 theta^, which sees the fine-tuning rows alone."""
        models: dict[str, tuple[SelectorStream, ...]] = {"theta": ("safe", "finetune")}
        return models if self.algorithm == 2 else {**models, "hat": ("finetune",)}

    def scores(self, rows: int, seed: int) -> Tensor:
        """omega before the first step: all rows equal, shape N, float64."""
        return torch.zeros(rows, dtype=torch.float64)

    def start(self, rows: int, seed: int) -> "OmegaState":
        """omega before the first step."""
        return omega_start(self.scores(rows, seed), self.optimizer)

    def weights_of(self, state: "OmegaState") -> Tensor:
        """w(omega)."""
        return row_weights(state.omega_N, self.weights)

    def descent(self, model: str, losses: Mapping[str, Tensor], weights_B: Tensor, epoch: int) -> Mapping[str, Tensor]:
        """`theta_losses`, `theta_hat_losses`."""
        if model == "hat":
            return {"finetune": theta_hat_losses(losses["finetune"], weights_B)}
        return theta_losses(losses["safe"], losses["finetune"], weights_B, self.gamma_at(epoch))

    def unmoved(self, model: str, epoch: int) -> Collection[str]:
        """At gamma = 0 the fine-tuning rows can't move theta."""
        return ("finetune",) if model == "theta" and self.gamma_at(epoch) == 0 else ()

    def updated(self, state: "OmegaState", visit: Visit) -> "OmegaState":
        """`omega_update` by what pulls."""
        pull_B = omega_pull(visit.losses["theta"], visit.losses.get("hat"))
        lr = self.step_size(len(visit.rows_B))
        return omega_update(state, visit.rows_B, pull_B, lr, self.weights, self.optimizer, visit.weights_K)

    def scores_of(self, state: "OmegaState") -> Tensor:
        """omega."""
        return state.omega_N

    def report(self, epoch: int) -> Mapping[str, float]:
        """gamma."""
        return {"selector/gamma": self.gamma_at(epoch)}


def row_weights(omega_N: Tensor, weighting: Weighting) -> Tensor:
    """w(omega), shape N: N softmax(omega), of mean 1, or 2 sigmoid(omega)."""
    if weighting == "softmax":
        return len(omega_N) * torch.softmax(omega_N, dim=0)
    return 2.0 * torch.sigmoid(omega_N)


def omega_pull(losses_B: Tensor, hat_losses_B: Tensor | None = None) -> Tensor:
    """What pulls omega's rows down, shape B, float64, without gradient: l(theta; z_j), or with the losses of theta^
    (Algorithm 1) l(theta; z_j) - l(theta^; z_j), which may be negative and lifts a row then."""
    pull_B = losses_B.detach().double()
    return pull_B if hat_losses_B is None else pull_B - hat_losses_B.detach().double()


def omega_gradient(
    omega_N: Tensor, rows_B: Tensor, losses_B: Tensor, weighting: Weighting, weights_N: Tensor | None = None
) -> Tensor:
    """Gradient of (1/B) sum_j l_j w_j(omega) in omega, l detached, shape N.

    softmax: dw_j/domega_i = w_j (1[i=j] - w_i / N), so every row moves; sigmoid: dw_j/domega_j = w_j (1 - w_j / 2).
    rows_B: int64 indices into omega, repeats allowed. losses_B: l(theta; z_j), length-normalised NLL, or `omega_pull`.
    weights_N: `row_weights` of this omega, where they are at hand already: they cost as much as all the rest.
    """
    losses_B = losses_B.detach().to(omega_N.dtype) / len(rows_B)
    if weighting == "sigmoid":
        weights_B = row_weights(omega_N[rows_B], weighting) if weights_N is None else weights_N[rows_B]
        return torch.zeros_like(omega_N).index_add_(0, rows_B, losses_B * weights_B * (1.0 - weights_B / 2.0))
    weights_N = row_weights(omega_N, weighting) if weights_N is None else weights_N
    pull_B = losses_B * weights_N[rows_B]
    return (weights_N * (-pull_B.sum() / len(omega_N))).index_add_(0, rows_B, pull_B)


def omega_step(omega_N: Tensor, rows_B: Tensor, losses_B: Tensor, lr: float, weighting: Weighting) -> Tensor:
    """omega after one step of the paper's plain gradient descent, shape N."""
    return omega_N - lr * omega_gradient(omega_N, rows_B, losses_B, weighting)


@dataclass(frozen=True)
class OmegaState:
    """omega and what its optimiser remembers. `asdict` of it is plain tensors and a number, `OmegaState(**saved)` the way back.

    omega_N: float64. first_N, second_N: AdamW's moments, float64; of no rows with `sgd`, which needs none.
    step: updates made so far.
    """

    omega_N: Tensor
    first_N: Tensor
    second_N: Tensor
    step: int = 0


def omega_start(omega_N: Tensor, optimizer: OmegaOptimizer = "sgd") -> OmegaState:
    """The state before the first step, from the omega to start at."""
    moments_N = torch.zeros_like(omega_N) if optimizer == "adamw_released" else omega_N.new_zeros(0)
    return OmegaState(omega_N, moments_N, moments_N.clone())


def omega_update(
    state: OmegaState,
    rows_B: Tensor,
    losses_B: Tensor,
    lr: float,
    weighting: Weighting,
    optimizer: OmegaOptimizer = "sgd",
    weights_N: Tensor | None = None,
) -> OmegaState:
    """The state after one step on (1/B) sum_j l_j w_j(omega); the given one stays as it is. Arguments as `omega_gradient`'s.

    sgd: omega - lr g, the paper's. adamw_released: what SEAL's released code runs, g clipped at norm 10, that is
    g <- g min(1, 10 / (|g| + 1e-6)), then AdamW on the whole of omega at every step: m <- .9 m + .1 g, v <- .95 v + .05 g^2,
    omega - lr (m / (1 - .9^t)) / (sqrt(v / (1 - .95^t)) + 1e-8), no weight decay.
    """
    gradient_N = omega_gradient(state.omega_N, rows_B, losses_B, weighting, weights_N)
    step = state.step + 1
    if optimizer == "sgd":
        return OmegaState(state.omega_N.sub(gradient_N, alpha=lr), state.first_N, state.second_N, step)
    scale = RELEASED_CLIP / (float(torch.linalg.vector_norm(gradient_N)) + 1e-6)
    gradient_N = gradient_N.mul_(scale) if scale < 1 else gradient_N
    beta1, beta2 = RELEASED_BETAS
    first_N = torch.lerp(state.first_N, gradient_N, 1 - beta1)
    second_N = (state.second_N * beta2).addcmul_(gradient_N, gradient_N, value=1 - beta2)
    scale_N = second_N.sqrt().div_(math.sqrt(1 - beta2**step)).add_(RELEASED_EPS)
    return OmegaState(state.omega_N.addcdiv(first_N, scale_N, value=-lr / (1 - beta1**step)), first_N, second_N, step)


def theta_losses(safe_B: Tensor, finetune_B: Tensor, weights_B: Tensor, gamma: float) -> dict[str, Tensor]:
    """What theta descends, per row and stream: (1-gamma) l(z_s) and gamma w_j l(z_j); means over the batch are summed.

    weights_B: w_j(omega) of the rows of `finetune_B`, taken before this step's update of omega, without gradient.
    """
    return {"safe": (1.0 - gamma) * safe_B, "finetune": gamma * weights_B.detach().to(finetune_B.dtype) * finetune_B}


def theta_hat_losses(finetune_B: Tensor, weights_B: Tensor) -> Tensor:
    """What theta^ of Algorithm 1 descends, per row: w_j l(theta^; z_j), without gamma, as it follows min L_D alone.

    finetune_B: losses of theta^ on the rows that theta sees. weights_B: as for `theta_losses`.
    """
    return weights_B.detach().to(finetune_B.dtype) * finetune_B
