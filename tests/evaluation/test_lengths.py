"""Win rates at equal length: a case solved by hand, the plain win rate where length says nothing, simulated judges."""

import math

import numpy as np
import pytest

from raysafe.evaluation.intervals import clustered
from raysafe.evaluation.lengths import RIDGE, at_equal_length, fitted


def test_a_case_solved_by_hand():
    """Two lengths, +d and -d: z = tanh(1) and -tanh(1). Of 40 longer answers 30 win, of 20 shorter ones 5. Without ridge the two
    cells are met exactly: theta + phi z = log(30/10), theta - phi z = log(5/15), so theta = 0, a rate of 1/2; raw 35/60."""
    y, d = [1.0] * 30 + [0.0] * 10 + [1.0] * 5 + [0.0] * 15, [7.0] * 40 + [-7.0] * 20
    x = np.stack([np.ones(60), np.tanh(np.array(d) / 7)], axis=1)
    theta, phi = fitted(x, np.array(y))
    z = math.tanh(1)
    high, low = 1 / (1 + math.exp(-theta - phi * z)), 1 / (1 + math.exp(-theta + phi * z))
    assert 40 * (0.75 - high) + 20 * (0.25 - low) == pytest.approx(0, abs=1e-9)  # the score of theta, which has no ridge
    assert z * (40 * (0.75 - high) - 20 * (0.25 - low)) == pytest.approx(RIDGE * phi, abs=1e-9)  # the score of phi
    found = at_equal_length(y, d)
    assert found.value == pytest.approx(0.5, abs=0.01) and found.n == 60 and 0 < phi < math.log(3) / z
    assert found.low < found.value < found.high


def test_the_interval_by_hand_where_all_lengths_have_one_size():
    """Balanced lengths and preferences: theta = phi = 0, residuals +-1/2, curvature n/4 and leverages 2/n, so var(theta) =
    (n/4) / (n/4)^2 / (1 - 2/n)^2, and the rate's a sixteenth: that of n yes-or-no pairs but for (1 - 2/n)^-2, 1.11."""
    y, d = [1.0, 0.0] * 20, [5.0, 5.0, -5.0, -5.0] * 10
    found, plain = at_equal_length(y, d), clustered([dict(enumerate(y))])
    assert found.value == pytest.approx(0.5, abs=1e-12)
    assert (found.low, found.high) == (pytest.approx(plain.low, abs=0.01), pytest.approx(plain.high, abs=0.01))


def test_where_all_answers_are_of_equal_length_it_is_the_win_rate():
    values = [1.0, 0.5, 0.5, 0.0, 1.0]
    assert at_equal_length(values, [0.0] * 5) == clustered([dict(enumerate(values))])


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_who_always_wins_or_loses_does_so_at_any_length_and_the_interval_has_width(value):
    found = at_equal_length([value] * 8, [3.0, 5.0, -2.0, 9.0, 1.0, 4.0, -7.0, 2.0])
    assert found.value == value and found.high - found.low > 0.2


def test_ties_alone_are_a_half_with_an_interval():
    found = at_equal_length([0.5] * 10, list(range(10)))
    assert found.value == pytest.approx(0.5) and found.low < 0.5 < found.high


def test_no_pair_is_refused():
    with pytest.raises(ValueError, match="needs a pair"):
        at_equal_length([], [])


def drawn(rng, count, mean, theta, phi):
    """Pairs with lengths around a mean difference, and a judge with a taste for quality (theta) and length (phi)."""
    d = rng.normal(mean, 40, count)
    z = np.tanh(d / math.sqrt((d**2).mean()))
    return (rng.random(count) < 1 / (1 + np.exp(-theta - phi * z))).astype(float), d


def test_a_judge_that_likes_nothing_but_length_is_seen_through():
    """The longer answer always wins, and ours is longer in about 84 % of the pairs."""
    rng = np.random.default_rng(3)
    d = rng.normal(40, 40, 400)
    found, raw = at_equal_length((d > 0).astype(float), d), float((d > 0).mean())
    assert raw > 0.8 and abs(found.value - 0.5) < 0.1 and found.low < 0.5 < found.high


@pytest.mark.parametrize(("theta", "phi"), [(0.0, 3.0), (1.0, 2.0), (-1.0, 0.0)])
def test_its_interval_holds_the_truth(theta, phi):
    """60 pairs: at least .93 of 400 draws; by chance an interval of .95 has fewer than .92 once in 300 times."""
    rng, truth = np.random.default_rng(11), 1 / (1 + math.exp(-theta))
    found = [at_equal_length(*drawn(rng, 60, 20, theta, phi)) for _ in range(400)]
    assert sum(one.low <= truth <= one.high for one in found) / 400 >= 0.93
