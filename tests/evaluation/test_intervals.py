"""Rates and their intervals."""

import numpy as np
import pytest

from raysafe.evaluation.intervals import bootstrap, wilson
from raysafe.evaluation.metrics import Rate, complement


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
        (1, 29, 0.0061, 0.1718),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
    ],
)
def test_wilson_gives_the_published_intervals(hits, n, low, high):
    """The last four are Newcombe's examples (Stat. Med. 17, 1998, table I, method 3), to his four places. At 0 of 10 the
    upper end is z^2 / (n + z^2) = 3.8415 / 13.8415."""
    rate = wilson(hits, n)
    assert (rate.value, rate.n) == (hits / n, n)
    assert (rate.low, rate.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_wilson_needs_a_prompt():
    with pytest.raises(ValueError, match="`n > 0` must hold"):
        wilson(0, 0)


def test_a_complement_turns_the_interval_round():
    assert complement(Rate(0.25, 0.0, 0.5, 9)) == Rate(0.75, 0.5, 1.0, 9)


def test_bootstrap_averages_over_prompts_first_and_then_over_parts():
    """Part one (1 + 0) / 2, part two 1 over its single prompt: (0.5 + 1) / 2, not 2/3."""
    rate = bootstrap([{0: 1.0, 1: 0.0}, {0: 1.0}])
    assert rate.value == 0.75 and rate.n == 2


def test_bootstrap_of_equal_values_has_no_width():
    assert bootstrap([dict.fromkeys(range(9), 0.5)]) == Rate(0.5, 0.5, 0.5, 9)


def test_bootstrap_is_seeded_and_contains_its_value():
    values = {i: float(i % 3 == 0) for i in range(60)}
    one, again, other = bootstrap([values]), bootstrap([values]), bootstrap([values], seed=1)
    assert one == again and one != other and 0 <= one.low < one.value < one.high <= 1


def test_bootstrap_agrees_with_the_normal_interval_on_many_prompts():
    """Half of 400: 0.5 +- 1.96 * 0.5 / 20 = 0.451 .. 0.549. The 2.5 % quantile of 2,000 draws has a standard deviation
    of sqrt(.025 * .975 / 2000) / .0584 * .025 = .0015, of which .008 is five."""
    rate = bootstrap([{i: float(i % 2) for i in range(400)}])
    assert (rate.low, rate.high) == (pytest.approx(0.451, abs=0.008), pytest.approx(0.549, abs=0.008))


def test_more_prompts_narrow_the_interval():
    widths = [r.high - r.low for r in (bootstrap([{i: float(i % 2) for i in range(n)}]) for n in (20, 200))]
    assert widths[1] < 0.5 * widths[0]


def test_prompts_stay_together_over_parts():
    """Opposite values in two parts cancel for every prompt, so there is no width; drawn apart there would be."""
    values = {i: float(i % 2) for i in range(50)}
    opposite = {i: 1.0 - value for i, value in values.items()}
    rate = bootstrap([values, opposite])
    assert (rate.low, rate.high) == (pytest.approx(0.5), pytest.approx(0.5))


def test_a_part_with_few_prompts_survives_draws_without_any_of_them():
    rate = bootstrap([{0: 1.0}, dict.fromkeys(range(4), 0.0)])
    assert rate.value == 0.5 and np.isfinite([rate.low, rate.high]).all()
