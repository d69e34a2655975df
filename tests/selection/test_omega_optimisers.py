"""What steps omega: AdamW as PyTorch's own, the two algorithms' pull, and what the released optimiser does to a ranking."""

import math

import pytest
import torch
from tolerances import CHAIN, FORMULA

from raysafe.selection.seal import (
    omega_gradient,
    omega_pull,
    omega_start,
    omega_step,
    omega_update,
    row_weights,
    theta_hat_losses,
)

KINDS = ("softmax", "sigmoid")


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def batch(step, rows=9):
    draw = torch.Generator().manual_seed(step)
    return torch.randint(0, rows, (4,), generator=draw), 3 * torch.rand(4, generator=draw, dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("scale", "clipped"), [(1.0, False), (100.0, True)])
def test_the_released_optimiser_is_pytorchs_clip_and_adamw_on_the_whole_of_omega(kind, scale, clipped):
    """Losses of up to 3 give gradients of norm below 4, a hundred times as large ones of more than 10. Twenty steps of .01 on
    float64 numbers of about 1, some ten roundings each: 200 * 1.1e-16 = 2e-14 and less than 1e-12."""
    leaf = torch.linspace(-1, 1, 9, dtype=torch.float64).requires_grad_()
    reference = torch.optim.AdamW([leaf], lr=0.01, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    state = omega_start(leaf.detach().clone(), "adamw_released")
    for step in range(20):
        rows, losses = batch(step)
        reference.zero_grad()
        (scale * losses * row_weights(leaf, kind)[rows]).mean().backward()
        norm = torch.nn.utils.clip_grad_norm_([leaf], 10.0)
        assert (norm > 10) == clipped
        reference.step()
        state = omega_update(state, rows, scale * losses, 0.01, kind, "adamw_released")
        torch.testing.assert_close(state.omega_N, leaf.detach(), rtol=CHAIN, atol=CHAIN)


def test_a_clipped_gradient_has_norm_10_and_plain_descent_clips_nothing():
    """Sigmoid at 0, loss 80 on one of two rows alone: gradient 40, whose tenth is the first moment 4 unclipped and 1 clipped."""
    start, rows, losses = torch.zeros(2, dtype=torch.float64), torch.tensor([0]), tensor([80.0])
    assert omega_update(omega_start(start), rows, losses, 1.0, "sigmoid").omega_N[0] == -40
    clipped = omega_update(omega_start(start, "adamw_released"), rows, losses, 1.0, "sigmoid", "adamw_released")
    assert clipped.first_N[0].item() == pytest.approx(1.0, rel=1e-7)  # 10 / (40 + 1e-6)


def test_the_first_adamw_step_is_the_step_size_against_the_gradients_sign():
    """m / (1 - .9) = g and sqrt(v / (1 - .95)) = |g|: omega moves by lr g / (|g| + 1e-8), here for g = (1, -1) as in the
    worked softmax step of two rows."""
    state = omega_update(omega_start(tensor([0.0, 0.0]), "adamw_released"), torch.tensor([0]), tensor([2.0]), 0.1, "softmax",
                         "adamw_released")  # fmt: skip
    assert state.omega_N.tolist() == pytest.approx([-0.1 / (1 + 1e-8), 0.1 / (1 + 1e-8)], rel=CHAIN)
    assert state.first_N.tolist() == pytest.approx([0.1, -0.1]) and state.second_N.tolist() == pytest.approx([0.05, 0.05])


def test_a_second_adamw_step_by_hand():
    """Row 0 alone, sigmoid, omega 0, loss 2: g = 2 * 0.5 = 1, omega -0.1. Then loss 0: g = 0, m = .09, v = .0475;
    .09 / (1 - .81) over sqrt(.0475 / (1 - .9025)): omega falls on by 0.1 * 0.4736842 / 0.6979824."""
    state = omega_start(tensor([0.0]), "adamw_released")
    for loss in (2.0, 0.0):
        state = omega_update(state, torch.tensor([0]), tensor([loss]), 0.1, "sigmoid", "adamw_released")
    expected = -0.1 - 0.1 * (0.09 / 0.19) / math.sqrt(0.0475 / 0.0975)
    assert state.omega_N.item() == pytest.approx(expected, rel=1e-8 / 0.69)  # the 1e-8 beside the root


@pytest.mark.parametrize("kind", KINDS)
def test_plain_descent_is_the_papers_step_and_remembers_nothing(kind):
    rows, losses = batch(0)
    state = omega_update(omega_start(torch.zeros(9, dtype=torch.float64)), rows, losses, 0.5, kind)
    torch.testing.assert_close(state.omega_N, omega_step(torch.zeros(9, dtype=torch.float64), rows, losses, 0.5, kind))
    assert state.first_N.numel() == state.second_N.numel() == 0 and state.step == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw_released"])
def test_weights_at_hand_change_nothing_and_the_old_state_stays(kind, optimizer):
    rows, losses = batch(3)
    state = omega_start(torch.linspace(-1, 1, 9, dtype=torch.float64), optimizer)
    before, weights = state.omega_N.clone(), row_weights(state.omega_N, kind)
    given = omega_update(state, rows, losses, 0.1, kind, optimizer, weights)
    assert torch.equal(given.omega_N, omega_update(state, rows, losses, 0.1, kind, optimizer).omega_N)
    assert torch.equal(state.omega_N, before) and torch.equal(weights, row_weights(before, kind)) and state.step == 0


def test_algorithm_2_pulls_by_thetas_loss_and_algorithm_1_by_what_it_is_above_theta_hats():
    """3 and 1 against 1 and 2: the second row, which theta fits better than theta^, is lifted."""
    assert omega_pull(tensor([3.0, 1.0])).tolist() == [3.0, 1.0]
    assert omega_pull(tensor([3.0, 1.0]), tensor([1.0, 2.0])).tolist() == [2.0, -1.0]


def test_the_pull_is_float64_and_without_gradient():
    pull = omega_pull(torch.tensor([1.0], requires_grad=True), torch.tensor([0.5], requires_grad=True))
    assert pull.dtype == torch.float64 and not pull.requires_grad


def test_a_step_of_omega_in_algorithm_1_by_hand():
    """Sigmoid at 0: dw/domega = 1/2. Pull (2, -1), B = 2: gradient (0.5, -0.25), lr 0.1."""
    pull = omega_pull(tensor([3.0, 1.0]), tensor([1.0, 2.0]))
    after = omega_update(omega_start(tensor([0.0, 0.0, 0.0])), torch.tensor([0, 1]), pull, 0.1, "sigmoid").omega_N
    assert after.tolist() == pytest.approx([-0.05, 0.025, 0.0], rel=FORMULA)


def test_with_equal_models_algorithm_1_leaves_omega_where_it_is():
    pull = omega_pull(tensor([1.0, 2.0]), tensor([1.0, 2.0]))
    gradient = omega_gradient(tensor([0.3, -1.0, 0.2, 0.0]), torch.tensor([1, 2]), pull, "softmax")
    assert gradient.abs().max() == 0


def test_theta_hat_descends_the_weighted_losses_without_gamma():
    """w (0.5, 1.5), l (2, 4): (1, 6); the weights carry no gradient."""
    weights, losses = tensor([0.5, 1.5]).requires_grad_(), tensor([2.0, 4.0]).requires_grad_()
    rows = theta_hat_losses(losses, weights)
    assert rows.tolist() == [1.0, 6.0]
    assert torch.autograd.grad(rows.sum(), (losses, weights), allow_unused=True)[1] is None


def rank_correlation(one, other):
    """Spearman's: the correlation of ranks."""
    return torch.corrcoef(torch.stack([values.argsort().argsort().double() for values in (one, other)]))[0, 1].item()


def trained(kind, optimizer, losses_N, epochs=3, size=8):
    """omega after shuffled epochs over rows whose losses never change."""
    draw = torch.Generator().manual_seed(0)
    state = omega_start(torch.zeros(len(losses_N), dtype=torch.float64), optimizer)
    for _ in range(epochs):
        order = torch.randperm(len(losses_N), generator=draw)
        for rows in order.split(size):
            state = omega_update(state, rows, losses_N[rows], 5e-3, kind, optimizer)
    return state.omega_N, order


@pytest.fixture
def fixed_losses():
    return 0.5 + 3 * torch.rand(400, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_plain_descent_ranks_rows_of_constant_loss_by_their_loss(kind, fixed_losses):
    omega, _ = trained(kind, "sgd", fixed_losses)
    assert rank_correlation(omega, -fixed_losses) > 0.95


def test_the_released_optimiser_with_sigmoid_ranks_by_recency_and_not_by_loss(fixed_losses):
    """A visited row falls on for the steps that its moment lasts: who came last has fallen least."""
    omega, order = trained("sigmoid", "adamw_released", fixed_losses)
    visited = torch.empty(len(order)).index_copy(0, order, torch.arange(400.0))
    assert abs(rank_correlation(omega, -fixed_losses)) < 0.2
    assert rank_correlation(omega[order[-64:]], visited[order[-64:]]) > 0.8


def test_the_released_optimiser_with_softmax_moves_rows_that_no_batch_visited():
    """2,000 rows, one visited again and again: the others' gradient is 1/2,000 of its own, but AdamW steps by lr all the same."""
    state = omega_start(torch.zeros(2000, dtype=torch.float64), "adamw_released")
    for _ in range(10):
        state = omega_update(state, torch.tensor([0]), tensor([1.0]), 5e-3, "softmax", "adamw_released")
    assert state.omega_N[0].item() == pytest.approx(-0.05, rel=1e-2) and state.omega_N[7].item() == pytest.approx(0.05, rel=1e-2)
