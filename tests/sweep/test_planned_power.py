"""What a planned sweep can show, on cases that can be worked by hand."""

import math

import pytest

from raysafe.sweep.planned_power import PlannedPower


def test_the_smallest_difference_by_hand():
    """One comparison, 32 prompts, one seed, a rate of .5: variance 2 * .25 * .5 / 32 = .0078125; (1.95996 + .84162) * .088388."""
    assert PlannedPower(32, 1, 1).smallest(0.5) == pytest.approx(2.80158 * math.sqrt(0.0078125), rel=1e-5)


def test_seeds_that_scatter_need_a_larger_one():
    """Two seeds, one comparison: t(1) = 12.7062; variance .00390625 + 2 * .01 / 2."""
    assert PlannedPower(32, 2, 1).smallest(0.5, 0.1) == pytest.approx((12.7062 + 0.84162) * math.sqrt(0.01390625), rel=1e-4)
    assert PlannedPower(32, 1, 1).smallest(0.5, 0.1) == math.inf


def test_more_prompts_and_seeds_see_more_and_more_comparisons_less():
    few, many, compared = PlannedPower(32, 3, 10), PlannedPower(128, 3, 10), PlannedPower(32, 3, 100)
    assert many.smallest(0.5) == pytest.approx(few.smallest(0.5) / 2) and compared.smallest(0.5) > few.smallest(0.5)


def test_it_is_said_in_two_lines():
    first, second = PlannedPower(32, 3, 24).lines()
    assert "32 prompts × 3 seeds" in first and "first of 24 comparisons" in first and "seeds scatter by 0.1" in second
    assert "seed's luck" in PlannedPower(32, 1, 24).lines()[1] and PlannedPower(32, 3, 0).lines() == []
