"""Losses that average over padded positions, by hand: labels (-1, -2) in a row of four positions."""

import pytest
import torch
from tolerances import FORMULA

from raysafe.objectives import StreamLogProbs, batch_means, total_loss
from raysafe.objectives.ga import Ga
from raysafe.objectives.ga_released import GaReleased
from raysafe.objectives.refusal import Refusal
from raysafe.objectives.refusal_released import RefusalReleased


def stream(rows, mask, padded=None):
    leaf = torch.tensor(rows, dtype=torch.float64, requires_grad=True)
    return StreamLogProbs(leaf, torch.tensor(mask, dtype=torch.float64), {}, padded=padded)


def both(name, padded=None):
    """The alignment row -1, -2 and two positions of padding; the retain row -3 and one position of padding."""
    return {name: stream([[-1.0, -2.0, -9.0, -9.0]], [[1, 1, 0, 0]], padded), "retain": stream([[-3.0, -9.0]], [[1, 0]], padded)}


def test_refusal_is_the_mean_over_all_positions_that_are_there():
    """(1 + 2) / 4 and 3 / 2; every label's gradient is -1/4 and -1/2, padding's is 0."""
    rows = both("safe")
    losses = RefusalReleased()(rows)
    sum(loss.sum() for loss in losses.values()).backward()
    assert (losses["align"].tolist(), losses["retain"].tolist()) == ([0.75], [1.5])
    assert rows["safe"].policy_BT.grad.tolist() == [[-0.25, -0.25, 0, 0]]
    assert rows["retain"].policy_BT.grad.tolist() == [[-0.5, 0]]


def test_gradient_ascent_has_the_opposite_sign_on_the_harmful_answer_alone():
    rows = both("harmful")
    losses = GaReleased()(rows)
    losses["align"].sum().backward()
    assert (losses["align"].tolist(), losses["retain"].tolist()) == ([-0.75], [1.5])
    assert rows["harmful"].policy_BT.grad.tolist() == [[0.25, 0.25, 0, 0]]


@pytest.mark.parametrize(("objective", "name", "sign"), [(RefusalReleased(), "safe", 1), (GaReleased(), "harmful", -1)])
def test_padding_to_512_leaves_511_positions_to_average_over(objective, name, sign):
    losses = objective(both(name, padded=511))
    assert losses["align"].item() == pytest.approx(sign * 3 / 511, rel=FORMULA)
    assert losses["retain"].item() == pytest.approx(3 / 511, rel=FORMULA)


@pytest.mark.parametrize(("released", "plain", "name"), [(RefusalReleased(), Refusal(), "safe"), (GaReleased(), Ga(), "harmful")])
def test_they_are_the_papers_losses_divided_by_the_padding(released, plain, name):
    rows = both(name, padded=8)
    for term, loss in plain(rows).items():
        torch.testing.assert_close(released(rows)[term], loss / 8, rtol=FORMULA, atol=0)


def test_the_step_is_alpha_times_the_mean_over_every_position_of_the_batch():
    """Rows (1, 2, 0, 0) and (4, 0, 0, 0): mean 7/8. Retain rows (3, 0) and (1, 1): mean 5/4. 0.2 * 7/8 + 0.8 * 5/4 = 1.175."""
    rows = {
        "safe": stream([[-1.0, -2.0, -9.0, -9.0], [-4.0, -9.0, -9.0, -9.0]], [[1, 1, 0, 0], [1, 0, 0, 0]]),
        "retain": stream([[-3.0, -9.0], [-1.0, -1.0]], [[1, 0], [1, 1]]),
    }
    ones = {"align": torch.ones(2), "retain": torch.ones(2)}
    means = batch_means(RefusalReleased()(rows), ones, {"align": 2, "retain": 2})
    assert total_loss(means, 0.2).item() == pytest.approx(1.175, rel=FORMULA)


def test_prefixes_are_the_refusals_always_and_gradient_ascents_on_request():
    assert RefusalReleased().prefixed and not GaReleased().prefixed and GaReleased(prefixed=True).prefixed


@pytest.mark.parametrize("make", [RefusalReleased, GaReleased])
def test_an_impossible_alpha_is_refused(make):
    with pytest.raises(ValueError, match="`0 <= alpha <= 1` must hold, but got 2"):
        make(alpha=2)
