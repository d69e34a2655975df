"""W-DOOR's token weights and unlearning terms, by hand; most numbers come out of sigmoid(log a) = a / (1 + a)."""

import math

import pytest
import torch
from objective_cases import WDOORS
from tolerances import CHAIN, FORMULA

from raysafe.objectives import StreamLogProbs
from raysafe.objectives.token_weights import TOKEN_WEIGHTS
from raysafe.objectives.unlearning import UNLEARNING
from raysafe.objectives.wdoor import WDoor

LOG2 = math.log(2)


def tensor(values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)


def harmful(rows, references=None, **rest):
    """A stream of harmful rows without padding."""
    leaf = tensor(rows).requires_grad_()
    return StreamLogProbs(leaf, torch.ones_like(leaf).detach(), {"reference": tensor(references)} if references else {}, **rest)


def safe(reward, dtype=torch.float64):
    """Three labels of log pi = -1 whose proxy rewards are `reward`."""
    leaf = torch.full((1, len(reward)), -1.0, dtype=dtype, requires_grad=True)
    frozen = {"proxy": tensor([reward], dtype), "reference": torch.zeros_like(leaf).detach()}
    return StreamLogProbs(leaf, torch.ones_like(leaf).detach(), frozen)


@pytest.mark.parametrize(
    ("name", "setting", "weights"),
    [
        ("exp", 1.0, [2, 1, 1 / 4]),  # exp(log 2), exp(0), exp(-2 log 2)
        ("exp", 2.0, [math.sqrt(2), 1, 1 / 2]),
        ("exp_released", 1.0, [1 / 2, 1, 4]),
        ("exp_released", 2.0, [1 / math.sqrt(2), 1, 2]),
        ("sigmoid", 1.0, [2 / 3, 1 / 2, 1 / 5]),  # a / (1 + a) with a = 2, 1, 1/4
        ("sigmoid", 2.0, [4 / 5, 1 / 2, 1 / 17]),  # a = 4, 1, 1/16
        ("sigmoid_released", 1.0, [1 / 3, 1 / 2, 4 / 5]),
        ("sigmoid_released", 2.0, [1 / 5, 1 / 2, 16 / 17]),
    ],
)
def test_weights_at_rewards_of_log_2_zero_and_minus_2_log_2(name, setting, weights):
    objective = WDoor(weights=name, **{TOKEN_WEIGHTS[name].setting: setting})
    (row,) = objective.token_weights(safe([LOG2, 0.0, -2 * LOG2])).tolist()
    assert row == pytest.approx(weights, rel=FORMULA)


def test_the_released_weights_have_the_papers_weights_at_the_opposite_reward():
    reward = torch.linspace(-4, 4, 9, dtype=torch.float64)
    for name in ("exp", "sigmoid"):
        released, paper = TOKEN_WEIGHTS[f"{name}_released"].formula, TOKEN_WEIGHTS[name].formula
        torch.testing.assert_close(released(reward, 3.0), paper(-reward, 3.0), rtol=FORMULA, atol=0)


def test_sigmoid_weights_of_both_signs_add_up_to_one():
    reward = torch.linspace(-4, 4, 9, dtype=torch.float64)
    both = [TOKEN_WEIGHTS[name].formula(reward, 0.7) for name in ("sigmoid", "sigmoid_released")]
    torch.testing.assert_close(sum(both), torch.ones(9, dtype=torch.float64), rtol=FORMULA, atol=0)


def test_the_released_sigmoid_keeps_its_digits_where_the_difference_is_zero():
    """1 - sigmoid(50) is exactly 0 in float64; the true value is exp(-50) / (1 + exp(-50))."""
    assert 1 - 1 / (1 + math.exp(-50)) == 0
    assert TOKEN_WEIGHTS["sigmoid_released"].formula(tensor([50.0]), 1.0).item() == pytest.approx(math.exp(-50), rel=CHAIN)


@pytest.mark.parametrize("name", ["sigmoid", "sigmoid_released"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sigmoid_weights_stay_between_0_and_1_at_any_reward(name, dtype):
    weights = WDoor(weights=name).token_weights(safe([1e4, -1e4, 0.0], dtype))
    assert sorted(weights.flatten().tolist()) == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(("name", "sign"), [("exp", 1.0), ("exp_released", -1.0)])
def test_exponential_weights_overflow_to_infinity_and_the_cap_takes_it_away(name, sign):
    rewards = safe([sign * 1e4, 0.0], torch.float32)
    assert WDoor(weights=name, tau=1.0).token_weights(rewards).tolist() == [[math.inf, 1.0]]
    assert WDoor(weights=name, tau=1.0, weight_cap=5.0).token_weights(rewards).tolist() == [[5.0, 1.0]]


def test_an_overflowing_weight_makes_the_loss_infinite_or_nan_and_the_cap_finite():
    rows = {"safe": safe([1e4], torch.float32), "harmful": harmful([[-1.0]], [[-1.0]]), "retain": harmful([[-1.0]])}
    assert not WDoor(tau=1.0)(rows)["align"].isfinite().any()
    capped = WDoor(tau=1.0, weight_cap=5.0)(rows)["align"]
    assert capped.item() == pytest.approx(5 + 4 * LOG2)  # 5 * 1, and NPO of one token at its reference: 2 log 2 / 0.5


@pytest.mark.parametrize("name", TOKEN_WEIGHTS)
def test_the_cap_cuts_what_is_above_it_and_nothing_else(name):
    rewards = safe([3.0, 0.0, -3.0])
    free, capped = WDoor(weights=name).token_weights(rewards), WDoor(weights=name, weight_cap=0.6).token_weights(rewards)
    assert capped.flatten().tolist() == [min(weight, 0.6) for weight in free.flatten().tolist()]
    assert (free > 0.6).any() and (free < 0.6).any()


@pytest.mark.parametrize("name", WDOORS)
def test_the_refusal_term_is_the_weighted_sum_and_its_gradient_the_weights(name):
    """log pi = -1 at each label, so the term is the sum of the weights; what is left of L_align is the unlearning term."""
    objective = WDOORS[name]
    stream, bad = safe([LOG2, 0.0, -2 * LOG2]), harmful([[-1.0]], [[-1.0]], lengths_B=tensor([4]))
    align = objective({"safe": stream, "harmful": bad, "retain": bad})["align"]
    align.sum().backward()
    weights = objective.token_weights(stream)
    torch.testing.assert_close(align - objective.unlearning_term(bad), weights.sum(dim=-1), rtol=FORMULA, atol=0)
    torch.testing.assert_close(stream.policy_BT.grad, -weights, rtol=0, atol=0)


def unlearn(stream, **settings):
    loss = WDoor(**settings).unlearning_term(stream)
    loss.sum().backward()
    return loss.tolist(), stream.policy_BT.grad.tolist()


def test_token_unlearning_by_hand():
    """Ratios log 2 and -log 2, beta 1: -2 [log s(-log 2) + log s(log 2)] = 2 log 3 + 2 log 3/2; the gradients are 2 s(log 2)
    and 2 s(-log 2)."""
    loss, gradient = unlearn(harmful([[LOG2 - 3, -LOG2 - 3]], [[-3, -3]]), unlearning="token", beta=1.0)
    assert loss == pytest.approx([2 * math.log(9 / 2)], rel=FORMULA)
    assert gradient[0] == pytest.approx([4 / 3, 2 / 3], rel=FORMULA)


def test_sequence_unlearning_by_hand():
    """The same ratios add up to 0, so 2 log 2 / beta with gradient 2 s(0) = 1 at both tokens; with 2 log 2 in place of log 2 the
    sum is log 2: -2 log s(-log 2) = 2 log 3, gradient 2 s(log 2) = 4/3."""
    loss, gradient = unlearn(harmful([[LOG2 - 3, -LOG2 - 3]], [[-3, -3]]), unlearning="sequence", beta=1.0)
    assert loss == pytest.approx([2 * LOG2], rel=FORMULA) and gradient[0] == pytest.approx([1, 1], rel=FORMULA)
    loss, gradient = unlearn(harmful([[2 * LOG2 - 3, -LOG2 - 3]], [[-3, -3]]), unlearning="sequence", beta=1.0)
    assert loss == pytest.approx([2 * math.log(3)], rel=FORMULA) and gradient[0] == pytest.approx([4 / 3] * 2, rel=FORMULA)


EIGHT_LOG_2 = [[-5 * LOG2, -3 * LOG2]]
"""Two labels of together -8 log 2; four attended tokens make -2 log 2 a token, and -beta times it log 2 at beta 0.5."""


def test_released_unlearning_by_hand_without_margin():
    """-4 log s(log 2) = 4 log 3/2; d/d(log pi_t) = (2 / len) s(-log 2) = 1/2 * 1/3."""
    loss, gradient = unlearn(harmful(EIGHT_LOG_2, lengths_B=tensor([4])), unlearning="released", margin=0.0)
    assert loss == pytest.approx([4 * math.log(3 / 2)], rel=FORMULA) and gradient[0] == pytest.approx([1 / 6] * 2, rel=FORMULA)


def test_released_unlearning_by_hand_with_a_margin():
    """Margin 2 log 2: -4 log s(log 2 - 2 log 2) = 4 log 3; d/d(log pi_t) = (2 / len) s(log 2) = 1/2 * 2/3."""
    loss, gradient = unlearn(harmful(EIGHT_LOG_2, lengths_B=tensor([4])), unlearning="released", margin=2 * LOG2)
    assert loss == pytest.approx([4 * math.log(3)], rel=FORMULA) and gradient[0] == pytest.approx([1 / 3] * 2, rel=FORMULA)


def test_released_unlearning_at_its_default_margin_of_one():
    """log pi / len = -4 / 4 at beta 0.5: -4 log s(0.5 - 1) = 4 log(1 + e^0.5)."""
    loss, _ = unlearn(harmful([[-4.0]], lengths_B=tensor([4])), unlearning="released")
    assert loss == pytest.approx([4 * math.log(1 + math.exp(0.5))], rel=FORMULA)


@pytest.mark.parametrize("lengths", [torch.tensor([4, 8]), torch.tensor([4.0, 8.0]), tensor([4, 8])], ids=lambda t: str(t.dtype))
def test_each_row_is_divided_by_its_own_length_whatever_its_type(lengths):
    """-8 log 2 over 4 and over 8 tokens: -beta m = log 2 and log 2 / 2; s(log sqrt 2) = sqrt 2 / (1 + sqrt 2)."""
    loss, _ = unlearn(harmful(EIGHT_LOG_2 * 2, lengths_B=lengths), unlearning="released", margin=0.0)
    assert loss == pytest.approx([4 * math.log(3 / 2), 4 * math.log(1 + 1 / math.sqrt(2))], rel=FORMULA)


def test_released_sum_is_released_times_the_rows_so_that_its_mean_is_the_sum():
    rows, lengths = EIGHT_LOG_2 * 3, tensor([4, 5, 6])
    single, gradient = unlearn(harmful(rows, lengths_B=lengths), unlearning="released")
    summed, gradients = unlearn(harmful(rows, lengths_B=lengths), unlearning="released_sum")
    assert sum(summed) / 3 == pytest.approx(sum(single), rel=FORMULA)
    torch.testing.assert_close(tensor(gradients), 3 * tensor(gradient), rtol=FORMULA, atol=0)


def test_released_sum_counts_the_rows_of_the_whole_step():
    """A micro-batch of one row of a step of six: 6 * 4 log 3/2; the mean over the step divides by six again."""
    loss, _ = unlearn(harmful(EIGHT_LOG_2, lengths_B=tensor([4]), step_rows=6), unlearning="released_sum", margin=0.0)
    assert loss == pytest.approx([24 * math.log(3 / 2)], rel=FORMULA)


@pytest.mark.parametrize("name", ["released", "released_sum"])
def test_released_unlearning_without_lengths_says_what_is_missing(name):
    with pytest.raises(ValueError, match="`lengths_B` of the harmful stream is needed"):
        WDoor(unlearning=name).unlearning_term(harmful([[-1.0]]))


@pytest.mark.parametrize(
    ("name", "reference"), [("token", True), ("sequence", True), ("released", False), ("released_sum", False)]
)
def test_frozen_models_are_those_that_the_variant_reads(name, reference):
    models = WDoor(unlearning=name).frozen_models
    assert models["safe"] == ("reference", "proxy") and models.get("harmful", ()) == (("reference",) if reference else ())


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"weights": "sigmoid", "tau": 1.0}, "tau is left at 5.0 with weights sigmoid, which has no tau"),
        ({"weights": "sigmoid_released", "tau": 1.0}, "tau is left at 5.0 with weights sigmoid_released, which has no tau"),
        ({"slope": 2.0}, "slope is left at 1.0 with weights exp, which has no slope"),
        ({"weights": "exp_released", "slope": 2.0}, "slope is left at 1.0 with weights exp_released, which has no slope"),
        ({"margin": 0.0}, "margin is left at 1.0 with unlearning token, which has no margin"),
        ({"unlearning": "sequence", "margin": 0.0}, "margin is left at 1.0 with unlearning sequence, which has no margin"),
        ({"weights": "sigmoid", "slope": 0.0}, "slope > 0"),
        ({"weights": "linear"}, "weights is one of exp, sigmoid, exp_released, sigmoid_released"),
        ({"unlearning": "none"}, "unlearning is one of token, sequence, released, released_sum"),
    ],
)
def test_settings_that_nothing_reads_are_refused(settings, rule):
    with pytest.raises(ValueError, match=f"`{rule}` must hold"):
        WDoor(**settings)


@pytest.mark.parametrize("name", WDOORS)
def test_every_setting_that_the_variant_does_read_may_be_set_and_matters(name):
    weights, unlearning = TOKEN_WEIGHTS[WDOORS[name].weights], UNLEARNING[WDOORS[name].unlearning]
    stream, bad = safe([0.3, -0.4]), harmful([[-1.0, -2.0]], [[-1.5, -1.0]], lengths_B=tensor([4]))
    rows = {"safe": stream, "harmful": bad, "retain": bad}
    for setting in (weights.setting, *unlearning.settings):
        other = WDoor(weights=WDOORS[name].weights, unlearning=WDOORS[name].unlearning, **{setting: 2.0})
        assert other(rows)["align"].item() != WDOORS[name](rows)["align"].item()


def test_the_released_settings_are_accepted_together():
    released = {"tau": 1.0, "margin": 1.0, "beta": 0.5, "alpha": 0.2, "unlearning": "released_sum"}
    assert WDoor(weights="exp_released", **released).tau == 1.0
