"""SEAL's two updates: worked out by hand, and the closed forms against autograd."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import CHAIN, FORMULA

from raysafe.selection.seal import Seal, omega_gradient, omega_step, row_weights, theta_losses

KINDS = ("softmax", "sigmoid")


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def theta_step(theta, targets_safe, targets_finetune, weights, gamma, lr):
    """One SGD step of theta on the scalar model l(theta; z) = (theta - a_z)^2 / 2."""
    leaf = tensor(theta).requires_grad_()
    safe, finetune = ((leaf - tensor(targets)) ** 2 / 2 for targets in (targets_safe, targets_finetune))
    rows = theta_losses(safe, finetune, tensor(weights), gamma)
    (rows["safe"].mean() + rows["finetune"].mean()).backward()
    return leaf.item() - lr * leaf.grad.item()


def test_a_step_of_theta_on_a_scalar_model():
    """theta 1, safe target 0 (gradient 1), fine-tuning target 3 (gradient -2), w 1.5, gamma 0.2, lr 0.1:
    1 - 0.1 [0.8 * 1 + 0.2 * 1.5 * (-2)] = 1 - 0.1 * 0.2 = 0.98."""
    assert theta_step(1.0, [0.0], [3.0], [1.5], gamma=0.2, lr=0.1) == pytest.approx(0.98, rel=FORMULA)


def test_a_step_of_theta_averages_over_each_batch():
    """safe gradients 1 and 3, mean 2; fine-tuning 0.5 * (-2) and 1.5 * (-4), mean -3.5: 1 - 0.1 [0.5 * 2 - 0.5 * 3.5] = 1.075."""
    assert theta_step(1.0, [0.0, -2.0], [3.0, 5.0], [0.5, 1.5], gamma=0.5, lr=0.1) == pytest.approx(1.075, rel=FORMULA)


def test_at_gamma_zero_theta_follows_the_safe_rows_alone():
    assert theta_step(1.0, [0.0], [100.0], [9.0], gamma=0.0, lr=0.1) == pytest.approx(0.9, rel=FORMULA)


def test_the_weights_that_theta_sees_carry_no_gradient():
    weights = tensor([1.0]).requires_grad_()
    rows = theta_losses(tensor([1.0]).requires_grad_(), tensor([2.0]).requires_grad_(), weights, 0.5)
    assert torch.autograd.grad(rows["finetune"].sum(), weights, allow_unused=True) == (None,) and rows["finetune"].item() == 1.0


def test_softmax_weights_of_three_rows():
    """omega = (log 1, log 2, log 3): softmax (1, 2, 3) / 6, times N = 3."""
    assert row_weights(tensor([0.0, math.log(2), math.log(3)]), "softmax").tolist() == pytest.approx([0.5, 1.0, 1.5], rel=FORMULA)


def test_sigmoid_weights_are_one_at_zero_and_double_the_sigmoid():
    assert row_weights(tensor([0.0, math.log(3)]), "sigmoid").tolist() == pytest.approx([1.0, 1.5], rel=FORMULA)


def test_a_softmax_step_of_omega_on_two_rows():
    """omega 0, N = 2, w = (1, 1), batch row 0 with loss 2. dw_0/domega = w_0 (1 - 1/2, -1/2): gradient (1, -1);
    with lr 0.1 omega becomes (-0.1, 0.1): the row that is hard for theta falls, the unseen one rises."""
    assert omega_step(tensor([0.0, 0.0]), torch.tensor([0]), tensor([2.0]), 0.1, "softmax").tolist() == pytest.approx([-0.1, 0.1])


def test_a_softmax_step_of_omega_on_three_unequal_rows():
    """w = (0.5, 1, 1.5); batch rows 0 and 2 with losses 4 and 2: pull l w / B = (1, 0, 1.5), sum 2.5;
    gradient = pull - 2.5 w / 3 = (1 - 5/12, -5/6, 1.5 - 1.25)."""
    omega = tensor([0.0, math.log(2), math.log(3)])
    gradient = omega_gradient(omega, torch.tensor([0, 2]), tensor([4.0, 2.0]), "softmax")
    assert gradient.tolist() == pytest.approx([7 / 12, -5 / 6, 1 / 4], rel=CHAIN)


def test_a_sigmoid_step_of_omega_moves_only_the_rows_of_the_batch():
    """dw/domega = w (1 - w/2): at 0 it is 1/2, at log 3 it is 1.5 * 0.25 = 0.375. Losses 2 and 4, B = 2:
    gradient (2/2 * 0.5, 4/2 * 0.375, 0) = (0.5, 0.75, 0)."""
    omega = tensor([0.0, math.log(3), 5.0])
    after = omega_step(omega, torch.tensor([0, 1]), tensor([2.0, 4.0]), 0.1, "sigmoid")
    assert after.tolist() == pytest.approx([-0.05, math.log(3) - 0.075, 5.0], rel=CHAIN)


def test_a_row_that_stands_twice_in_the_batch_counts_twice():
    once = omega_gradient(tensor([0.0, 0.0, 0.0]), torch.tensor([1]), tensor([3.0]), "sigmoid")
    twice = omega_gradient(tensor([0.0, 0.0, 0.0]), torch.tensor([1, 1]), tensor([3.0, 3.0]), "sigmoid")
    assert once.tolist() == twice.tolist() == [0.0, 1.5, 0.0]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_closed_form_is_the_gradient_that_autograd_finds(kind, data):
    n = data.draw(st.integers(1, 6))
    omega = tensor(data.draw(st.lists(st.floats(-4, 4), min_size=n, max_size=n))).requires_grad_()
    rows = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=8))
    losses = tensor(data.draw(st.lists(st.floats(0, 10), min_size=len(rows), max_size=len(rows))))
    weights = n * torch.softmax(omega, 0) if kind == "softmax" else 2 / (1 + torch.exp(-omega))
    (expected,) = torch.autograd.grad((losses * weights[rows]).mean(), omega)
    got = omega_gradient(omega.detach(), torch.tensor(rows), losses, kind)
    torch.testing.assert_close(got, expected, rtol=CHAIN, atol=CHAIN)


def test_the_softmax_gradient_sums_to_zero():
    """softmax does not change when all of omega moves together."""
    gradient = omega_gradient(torch.randn(9, dtype=torch.float64), torch.tensor([3, 3, 8]), tensor([1.0, 2.0, 5.0]), "softmax")
    assert abs(gradient.sum().item()) < 1e-12 and gradient.abs().max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_the_losses_are_taken_without_gradient_and_may_be_float32(kind):
    losses = torch.tensor([1.0], requires_grad=True)
    after = omega_step(tensor([0.0, 1.0]), torch.tensor([0]), losses, 0.1, kind)
    assert after.dtype == torch.float64 and not after.requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_the_row_of_larger_loss_ends_lower(kind):
    omega = tensor([0.0, 0.0, 0.0])
    for _ in range(20):
        omega = omega_step(omega, torch.tensor([0, 1, 2]), tensor([1.0, 3.0, 2.0]), 0.1, kind)
    assert omega.argsort().tolist() == [1, 2, 0]


def test_a_constant_gamma_stays():
    assert [Seal(gamma=0.2).gamma_at(epoch) for epoch in range(3)] == [0.2, 0.2, 0.2]


def test_a_linear_gamma_grows_as_in_the_paper():
    seal = Seal(gamma=0.0, schedule="linear", increment=0.03, epochs=3)
    assert [seal.gamma_at(epoch) for epoch in range(3)] == pytest.approx([0.0, 0.03, 0.06])


@pytest.mark.parametrize(
    ("settings_", "rule"),
    [
        ({"gamma": 1.0}, "0 <= gamma < 1"),
        ({"gamma": -0.1}, "0 <= gamma < 1"),
        ({"schedule": "linear"}, "increment is given exactly when schedule is linear"),
        ({"increment": 0.1}, "increment is given exactly when schedule is linear"),
        ({"gamma": 0.5, "schedule": "linear", "increment": 0.3}, r"increment \* \(epochs - 1\) < 1"),
        ({"gamma": 0.1, "schedule": "linear", "increment": -0.2}, r"0 <= gamma \+ increment"),
        ({"lr": 0.0}, "lr > 0"),
        ({"epochs": 0}, "epochs > 0"),
        ({"safe_batch_size": 0}, "safe_batch_size > 0"),
    ],
)
def test_impossible_settings_are_refused_with_the_rule(settings_, rule):
    with pytest.raises(ValueError, match=rule):
        Seal(**settings_)
