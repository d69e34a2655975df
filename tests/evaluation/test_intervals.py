"""Rates and their intervals."""

import math

import pytest

from raysafe.evaluation.intervals import ALONE, Z, clustered, mean_interval, t_point, wilson
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


def test_values_are_averaged_over_prompts_first_and_then_over_parts():
    """Part one (1 + 0) / 2, part two 1 over its single prompt: (0.5 + 1) / 2, not 2/3."""
    rate = clustered([{0: 1.0, 1: 0.0}, {0: 1.0}])
    assert rate.value == 0.75 and rate.n == 2 and 0 < rate.low < 0.75 < rate.high < 1


@pytest.mark.parametrize("hits", [0, 1, 16, 32])
def test_yes_or_no_prompts_of_one_part_have_wilsons_interval(hits):
    values = {i: float(i < hits) for i in range(32)}
    one, other = clustered([values]), wilson(hits, 32)
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high), abs=1e-12)
    assert clustered([values, values]) == pytest.approx(one)


def test_values_that_are_all_alike_keep_a_width():
    """n values of 0.5: as sure as n (n + z²) / z² yes-or-no prompts; at n = 9: 30.085, so
    0.5 -+ z / (1 + z²/30.085) sqrt(.25/30.085 + z²/(4 * 30.085²)) = 0.5 -+ 0.16824."""
    rate = clustered([dict.fromkeys(range(9), 0.5)])
    assert (rate.value, rate.low, rate.high) == (0.5, pytest.approx(0.33176, abs=1e-5), pytest.approx(0.66824, abs=1e-5))


def test_prompts_stay_together_over_parts():
    """Opposite values in two parts cancel for every prompt; drawn apart they would not."""
    values = {i: float(i % 2) for i in range(50)}
    together = clustered([values, {i: 1.0 - value for i, value in values.items()}])
    apart = clustered([values, {50 + i: 1.0 - value for i, value in values.items()}])
    assert together.high - together.low < 0.4 * (apart.high - apart.low) and (together.n, apart.n) == (50, 100)


def test_many_prompts_have_the_normal_interval():
    """Uniform on 0..1: standard deviation 1 / sqrt(12); 0.5 -+ 1.96 * 0.2887 / sqrt(4800) = 0.5 -+ 0.008167."""
    rate = clustered([{i: (i + 0.5) / 4800 for i in range(4800)}])
    assert rate.high - rate.value == pytest.approx(0.008167, rel=0.005)


def test_a_part_without_prompts_has_no_mean():
    with pytest.raises(ValueError, match="every part needs a prompt"):
        clustered([{0: 1.0}, {}])


def test_a_mean_of_unbounded_values_by_hand():
    """-1, 0, 4: mean 1, s² = (4 + 1 + 9) / 2 = 7; t(2) = 4.30265: 1 -+ 4.30265 * sqrt(7 / 3) = 1 -+ 6.5725."""
    rate = mean_interval([-1.0, 0.0, 4.0])
    assert (rate.value, rate.n) == (1.0, 3)
    assert (rate.low, rate.high) == (pytest.approx(-5.5725, abs=1e-4), pytest.approx(7.5725, abs=1e-4))


def test_a_mean_that_knows_no_spread_has_a_width():
    """One value 2: -+ 9.68 * 2. Nine times -3: -+ 3 * z² / (9 + z²). Nine times 0: -+ z² / (9 + z²)."""
    share = Z * Z / (9 + Z * Z)
    assert mean_interval([2.0]).high == pytest.approx(2 + ALONE * 2)
    assert mean_interval([-3.0] * 9).low == pytest.approx(-3 - 3 * share)
    assert mean_interval([0.0] * 9).high == pytest.approx(share)
    with pytest.raises(ValueError, match="a mean needs a value"):
        mean_interval([])


def test_points_of_student():
    """As printed in tables; one degree of freedom is Cauchy's: tan(pi/2 (1 - alpha))."""
    assert [t_point(df) for df in (2, 5, 15)] == pytest.approx([4.303, 2.571, 2.131], abs=6e-4)
    assert t_point(1, 0.001) == pytest.approx(math.tan(math.pi / 2 * 0.999), rel=1e-6)
