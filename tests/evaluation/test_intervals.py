"""Rates and their intervals."""

import math

import numpy as np
import pytest

from raysafe.evaluation.intervals import (
    ALONE,
    Z,
    clustered,
    components,
    crossed,
    mean_interval,
    over_seeds,
    pooled,
    t_point,
    wilson,
    wilson_ends,
)
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


TABLE = np.array([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
"""Two seeds, four prompts. Mean 3/8; prompts' means 1, 1/2, 0, 0, seeds' 1/2 and 1/4. Mean squares: prompts
2 * .6875 / 3 = .45833, seeds 4 * 2 / 64 = .125, what is left: six times 1/64 and twice 9/64, / 3 = .125."""


def test_components_of_a_table_by_hand():
    """Prompts (.458333 - .125) / 2, seeds (.125 - .125) / 4."""
    assert components(TABLE) == (pytest.approx(1 / 6), 0.0, pytest.approx(0.125))


def test_a_mean_over_seeds_by_hand():
    """V = .458333 / 8 * 3/4 = .0429688, so n = .234375 / V = 5.4545. Of it seeds' mean square / 8 = .015625 is known by one
    degree of freedom: V² / .015625² = 7.5625, t = 2.3294. Wilson's ends at n = 5.4545 * (1.95996 / 2.3294)² = 3.8615:
    z² / n = .99483, centre (.375 + .49742) / 1.99483 = .43734, half
    1.95996 / 1.99483 * sqrt(.234375 / 3.8615 + .99483 / (4 * 3.8615)) = .34740."""
    rate = crossed(TABLE)
    assert float(t_point(7.5625)) == pytest.approx(2.3294, abs=1e-4)
    assert (rate.value, rate.n) == (0.375, 4)
    assert (rate.low, rate.high) == (pytest.approx(0.08994, abs=2e-4), pytest.approx(0.78474, abs=2e-4))


def test_seeds_that_differ_more_than_their_prompts_answers_let_expect_widen_the_interval():
    calm, torn = np.zeros((2, 32)), np.zeros((2, 32))
    calm[:, :16], torn[0] = 1.0, 1.0
    calm, torn = crossed(calm), crossed(torn)
    assert calm.value == torn.value == 0.5 and calm.high - calm.low < 0.36 < 0.8 < torn.high - torn.low


def test_a_mean_over_seeds_by_prompt_is_that_of_the_table():
    by_seed = [dict(enumerate(row)) for row in TABLE]
    assert over_seeds(by_seed) == crossed(TABLE)
    assert over_seeds([*by_seed[:1]]) == clustered([by_seed[0]])


def test_seeds_with_prompts_of_their_own_are_no_pairs():
    """Worlds of their own: 16 of 32 and 16 of 32 others are as sure as 64 prompts, but for the two seeds' own doubt."""
    values = {i: float(i < 16) for i in range(32)}
    alike, apart = over_seeds([values, values]), over_seeds([values, {i + 32: value for i, value in values.items()}])
    assert apart.n == 64 and alike.n == 32
    assert (apart.low, apart.high) == pytest.approx(tuple(map(float, wilson_ends(0.5, 64))), abs=0.003)
    assert alike.high - alike.low > 1.3 * (apart.high - apart.low)


def test_prompts_that_some_seed_lacks_are_left_out_of_the_spread_alone():
    one, other = {i: float(i < 8) for i in range(32)}, {i: float(i < 8) for i in range(30)}
    assert over_seeds([one, other]).value == pytest.approx((8 / 32 + 8 / 30) / 2)


def test_a_mean_of_unbounded_values_over_seeds_leaves_0_to_1():
    rate = over_seeds([{"a": -3.0, "b": 5.0}, {"a": -2.0, "b": 6.0}], share=False)
    assert rate.value == 1.5 and rate.low < 0 and rate.high > 1
    assert over_seeds([{"a": 2.0, "b": 2.0}] * 2, share=False).high > 2


def test_from_summaries_alone_a_mean_has_the_width_of_seeds_that_answer_much_alike():
    """Four seeds of 16 of 32: seeds share .7 of their prompts' luck, so n = 32 * 4 / (1 + .7 * 3) = 41.29."""
    rate = pooled([wilson(16, 32)] * 4)
    assert (rate.low, rate.high) == pytest.approx(tuple(map(float, wilson_ends(0.5, 41.29))), abs=2e-4)
    assert pooled([wilson(3, 32)]) == wilson(3, 32)


def test_from_summaries_alone_seeds_that_differ_have_a_wide_interval():
    rate = pooled([wilson(0, 32), wilson(30, 32), wilson(3, 32)])
    assert rate.low < 0.1 and rate.high > 0.8


def test_an_interval_without_width_of_an_older_version_has_that_of_its_prompts():
    assert pooled([Rate(1.0, 1.0, 1.0, 32)] * 3).low == pytest.approx(wilson(32, 32).low)


def test_a_mean_of_unbounded_summaries():
    """Two means 1 and 3 of two prompts each, without a spread of their own: t(1) * sqrt(2 / 2) = 12.706."""
    rate = pooled([Rate(1.0, 1.0, 1.0, 2), Rate(3.0, 3.0, 3.0, 2)], share=False)
    assert (rate.value, rate.high) == (2.0, pytest.approx(14.706, abs=1e-3))
