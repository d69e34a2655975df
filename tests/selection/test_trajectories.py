"""Ten steps of SEAL against a second implementation, in plain Python lists: every way to weigh, to step, to pull, to schedule."""

import math
from dataclasses import asdict
from itertools import product

import pytest
import torch
from tolerances import CHAIN

from raysafe.selection.seal import (
    OmegaState,
    Seal,
    omega_pull,
    omega_start,
    omega_update,
    row_weights,
    theta_hat_losses,
    theta_losses,
)

LR, MODEL_LR, STEPS, EPOCHS = 0.7, 0.2, 10, 2
DATA = [0.3, -1.2, 2.5, 0.9, -0.4]
"""a_i of the rows of D; the model is one number, l(theta; a) = (theta - a)^2 / 2, so that its gradient is theta - a."""
SAFE = [0.1, -0.2, 0.4]
START = [0.1, -0.3, 0.2, 0.0, 0.4]
BATCHES = [((step * 2) % 5, (step * 3 + 1) % 5) for step in range(STEPS)]
SCHEDULES = {
    "constant": ({"gamma": 0.3}, [0.3, 0.3]),
    "linear": ({"gamma": 0.1, "schedule": "linear", "increment": 0.25}, [0.1, 0.35]),
    "list": ({"schedule": [0.0, 0.6]}, [0.0, 0.6]),
}
CASES = list(product(("softmax", "sigmoid"), ("sgd", "adamw_released"), (1, 2), SCHEDULES))


def safe_row(step):
    return SAFE[step % 3]


def weights_by_hand(omega, kind):
    if kind == "sigmoid":
        return [2 / (1 + math.exp(-value)) for value in omega]
    total = math.fsum(math.exp(value) for value in omega)
    return [len(omega) * math.exp(value) / total for value in omega]


def slope(weights, j, i, kind):
    """dw_j / domega_i."""
    if kind == "sigmoid":
        return weights[j] * (1 - weights[j] / 2) if i == j else 0.0
    return weights[j] * ((i == j) - weights[i] / len(weights))


class ByHand:
    """theta, theta^ and omega as Python numbers."""

    def __init__(self, kind, optimizer, algorithm):
        self.kind, self.optimizer, self.algorithm = kind, optimizer, algorithm
        self.omega, self.theta, self.hat = list(START), 1.0, 1.0
        self.m, self.v, self.t = [0.0] * 5, [0.0] * 5, 0

    def step(self, rows, safe, gamma):
        w, theta, hat = weights_by_hand(self.omega, self.kind), self.theta, self.hat
        pull = [(theta - DATA[j]) ** 2 / 2 - (self.algorithm == 1) * (hat - DATA[j]) ** 2 / 2 for j in rows]
        gradient = [sum(p * slope(w, j, i, self.kind) for j, p in zip(rows, pull, strict=True)) / 2 for i in range(5)]
        mean = sum(w[j] * (theta - DATA[j]) for j in rows) / 2
        self.theta = theta - MODEL_LR * ((1 - gamma) * (theta - safe) + gamma * mean)
        self.hat = hat - MODEL_LR * sum(w[j] * (hat - DATA[j]) for j in rows) / 2
        self.move(gradient)

    def move(self, gradient):
        self.t += 1
        for i, g in enumerate(gradient):
            if self.optimizer == "sgd":
                self.omega[i] -= LR * g
                continue
            self.m[i] = 0.9 * self.m[i] + 0.1 * g
            self.v[i] = 0.95 * self.v[i] + 0.05 * g * g
            first, second = self.m[i] / (1 - 0.9**self.t), self.v[i] / (1 - 0.95**self.t)
            self.omega[i] -= LR * first / (math.sqrt(second) + 1e-8)


def descended(value, losses):
    """One SGD step of a model of one number."""
    (gradient,) = torch.autograd.grad(losses, value)
    return (value - MODEL_LR * gradient).detach().requires_grad_()


def run(seal, steps, state=None, models=(1.0, 1.0), first=0):
    """The platform's functions in the order in which a training loop calls them."""
    theta, hat = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in models)
    state = state or omega_start(torch.tensor(START, dtype=torch.float64), seal.optimizer)
    data = torch.tensor(DATA, dtype=torch.float64)
    for step in range(first, steps):
        rows = torch.tensor(BATCHES[step])
        weights = row_weights(state.omega_N, seal.weights)
        losses, hat_losses = (theta - data[rows]) ** 2 / 2, (hat - data[rows]) ** 2 / 2
        safe = (theta - safe_row(step)) ** 2 / 2
        pull = omega_pull(losses, hat_losses) if seal.algorithm == 1 else omega_pull(losses)
        parts = theta_losses(safe, losses, weights[rows], seal.gamma_at(step * EPOCHS // STEPS))
        theta = descended(theta, parts["safe"] + parts["finetune"].mean())
        hat = descended(hat, theta_hat_losses(hat_losses, weights[rows]).mean())
        state = omega_update(state, rows, pull, seal.lr, seal.weights, seal.optimizer, weights)
    return state, (theta.item(), hat.item())


def seal_of(kind, optimizer, algorithm, schedule):
    settings, _ = SCHEDULES[schedule]
    return Seal(weights=kind, optimizer=optimizer, algorithm=algorithm, lr=LR, epochs=EPOCHS, **settings)


@pytest.mark.parametrize(("kind", "optimizer", "algorithm", "schedule"), CASES)
def test_ten_steps_are_those_of_plain_python(kind, optimizer, algorithm, schedule):
    hand = ByHand(kind, optimizer, algorithm)
    for step, rows in enumerate(BATCHES):
        hand.step(rows, safe_row(step), SCHEDULES[schedule][1][step * EPOCHS // STEPS])
    state, models = run(seal_of(kind, optimizer, algorithm, schedule), STEPS)
    assert state.omega_N.tolist() == pytest.approx(hand.omega, rel=CHAIN, abs=CHAIN) and state.step == STEPS
    assert models == pytest.approx((hand.theta, hand.hat), rel=CHAIN, abs=CHAIN)


@pytest.mark.parametrize(("kind", "optimizer", "algorithm", "schedule"), CASES[::3])
def test_a_saved_state_goes_on_bit_by_bit(kind, optimizer, algorithm, schedule, tmp_path):
    seal = seal_of(kind, optimizer, algorithm, schedule)
    straight, models = run(seal, STEPS)
    half, stops = run(seal, 4)
    torch.save(asdict(half), tmp_path / "state.pt")
    again, resumed = run(seal, STEPS, OmegaState(**torch.load(tmp_path / "state.pt", weights_only=True)), stops, first=4)
    assert models == resumed and asdict(again).keys() == asdict(straight).keys()
    assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(vars(again).values(), vars(straight).values()))  # noqa: B905


def test_the_two_algorithms_and_all_schedules_end_in_different_places():
    ends = [tuple(run(seal_of("softmax", "sgd", a, s), STEPS)[0].omega_N.tolist()) for a in (1, 2) for s in SCHEDULES]
    assert len(set(ends)) == 6
