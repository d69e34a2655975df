"""Every objective's value and gradient, worked out by hand on one or two rows.

Common numbers: safe row with two labels log pi = (-1, -2), reference (-1.5, -1), so log ratio = -3 + 2.5 = -0.5;
harmful row (-1, -3), reference (-2, -1), so log ratio = -4 + 3 = -1; retain row (-0.5, -0.25): loss 0.75.
"""

import math

import pytest
import torch
from tolerances import FORMULA

from raysafe.objectives import StreamLogProbs
from raysafe.objectives.door import Door
from raysafe.objectives.dpo import Dpo
from raysafe.objectives.ga import Ga
from raysafe.objectives.npo import Npo
from raysafe.objectives.refusal import Refusal
from raysafe.objectives.sft import Sft
from raysafe.objectives.wdoor import WDoor


def row(policy, **frozen):
    leaf = torch.tensor([policy], dtype=torch.float64, requires_grad=True)
    tensors = {name: torch.tensor([values], dtype=torch.float64, requires_grad=True) for name, values in frozen.items()}
    return StreamLogProbs(leaf, torch.ones_like(leaf).detach(), tensors)


def streams():
    return {
        "retain": row([-0.5, -0.25]),
        "safe": row([-1.0, -2.0], reference=[-1.5, -1.0], proxy=[-0.5, -2.0]),
        "harmful": row([-1.0, -3.0], reference=[-2.0, -1.0]),
    }


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def align(objective, rows):
    loss = objective(rows)["align"]
    loss.sum().backward()
    return loss.item()


def grad(rows, stream):
    return rows[stream].policy_BT.grad.flatten().tolist()


@pytest.mark.parametrize("objective", [Sft(), Refusal(), Ga(), Npo(), Dpo(), Door(), WDoor()], ids=lambda o: o.name)
def test_retain_is_the_negative_log_likelihood_in_every_objective(objective):
    rows = streams()
    loss = objective(rows)["retain"]
    loss.sum().backward()
    assert loss.tolist() == [0.75] and grad(rows, "retain") == [-1.0, -1.0]


def test_sft_has_no_alignment_term_and_no_alpha():
    assert set(Sft()(streams())) == {"retain"} and Sft().alpha == 0.0


def test_refusal_is_minus_the_sum_over_the_refusals_tokens():
    rows = streams()
    assert align(Refusal(), rows) == 3.0
    assert grad(rows, "safe") == [-1.0, -1.0]


def test_gradient_ascent_is_the_log_likelihood_of_the_harmful_answer():
    rows = streams()
    assert align(Ga(), rows) == -4.0
    assert grad(rows, "harmful") == [1.0, 1.0]


def test_npo_with_a_log_ratio_of_minus_one():
    """-(2/b) log s(-b (-1)) = -4 log s(0.5); d/d(log pi) = 2 s(b r) = 2 s(-0.5) at every token."""
    rows = streams()
    assert align(Npo(beta=0.5), rows) == pytest.approx(-4 * math.log(sigmoid(0.5)), rel=FORMULA)
    assert grad(rows, "harmful") == pytest.approx([2 * sigmoid(-0.5)] * 2, rel=FORMULA)


def test_dpo_with_a_margin_of_one_half():
    """margin = -0.5 - (-1) = 0.5; -4 log s(0.25); d/d(safe) = -2 s(-b margin) = -2 s(-0.25), d/d(harmful) the opposite."""
    rows = streams()
    assert align(Dpo(beta=0.5), rows) == pytest.approx(-4 * math.log(sigmoid(0.25)), rel=FORMULA)
    assert grad(rows, "safe") == pytest.approx([-2 * sigmoid(-0.25)] * 2, rel=FORMULA)
    assert grad(rows, "harmful") == pytest.approx([2 * sigmoid(-0.25)] * 2, rel=FORMULA)


def test_door_is_refusal_plus_npo():
    rows = streams()
    assert align(Door(beta=0.5), rows) == pytest.approx(3.0 - 4 * math.log(sigmoid(0.5)), rel=FORMULA)
    assert grad(rows, "safe") == [-1.0, -1.0]
    assert grad(rows, "harmful") == pytest.approx([2 * sigmoid(-0.5)] * 2, rel=FORMULA)


def test_wdoor_weighs_refusal_tokens_and_unlearns_token_by_token():
    """r = proxy - reference = (1, -1), tau 2: b = (e^.5, e^-.5); refusal e^.5 * 1 + e^-.5 * 2.
    Harmful token ratios (1, -2): -4 [log s(-.5) + log s(1)], gradients 2 s(.5) and 2 s(-1)."""
    rows = streams()
    first, second = math.exp(0.5), math.exp(-0.5)
    unlearning = -4 * (math.log(sigmoid(-0.5)) + math.log(sigmoid(1.0)))
    assert align(WDoor(beta=0.5, tau=2.0), rows) == pytest.approx(first + 2 * second + unlearning, rel=FORMULA)
    assert grad(rows, "safe") == pytest.approx([-first, -second], rel=FORMULA)
    assert grad(rows, "harmful") == pytest.approx([2 * sigmoid(0.5), 2 * sigmoid(-1.0)], rel=FORMULA)


def test_wdoor_weights_are_exp_of_reward_over_tau_and_zero_outside_the_mask():
    safe = streams()["safe"]
    masked = StreamLogProbs(safe.policy_BT, torch.tensor([[1.0, 0.0]]), safe.frozen)
    assert WDoor(tau=5.0).token_weights(masked).tolist() == [[pytest.approx(math.exp(0.2)), 0.0]]


def test_the_weight_cap_cuts_large_weights_and_leaves_small_ones():
    weights = WDoor(tau=1.0, weight_cap=1.5).token_weights(streams()["safe"])
    assert weights.tolist() == [[1.5, pytest.approx(math.exp(-1))]]


def test_token_weights_carry_no_gradient():
    assert not WDoor().token_weights(streams()["safe"]).requires_grad


@pytest.mark.parametrize("beta", [0.1, 0.5, 2.0])
def test_at_the_reference_npo_and_dpo_are_two_log_two_over_beta(beta):
    rows = {"retain": row([-0.5]), "safe": row([-1.0, -2.0], reference=[-1.0, -2.0]), "harmful": row([-3.0], reference=[-3.0])}
    for objective in (Npo(beta=beta), Dpo(beta=beta)):
        assert objective(rows)["align"].item() == pytest.approx(2 * math.log(2) / beta, rel=FORMULA)


def test_at_the_reference_wdoors_unlearning_counts_once_a_token():
    """No reward: b = 1, so refusal -(-1 - 2) = 3, and two harmful tokens give 2 * 2 log 2 / beta."""
    safe = row([-1.0, -2.0], reference=[-1.0, -2.0], proxy=[-1.0, -2.0])
    rows = {"retain": row([-0.5]), "safe": safe, "harmful": row([-3.0, -1.0], reference=[-3.0, -1.0])}
    assert WDoor(beta=0.5)(rows)["align"].item() == pytest.approx(3.0 + 8 * math.log(2), rel=FORMULA)


def test_the_papers_values_are_the_defaults():
    assert (WDoor().alpha, WDoor().beta, WDoor().tau, WDoor().weight_cap) == (0.2, 0.5, 5.0, None)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: Door(alpha=1.5), "0 <= alpha <= 1"),
        (lambda: Npo(beta=0.0), "beta > 0"),
        (lambda: WDoor(tau=0.0), "tau > 0"),
        (lambda: WDoor(weight_cap=-1.0), "weight_cap > 0"),
        (lambda: Dpo(beta=-1.0), "beta > 0"),
        (lambda: Refusal(alpha=-0.1), "0 <= alpha <= 1"),
    ],
)
def test_impossible_hyper_parameters_are_refused_with_the_rule(make, rule):
    with pytest.raises(ValueError, match=f"`{rule}` must hold"):
        make()
