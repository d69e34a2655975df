"""From scores to the kept rows, exactly."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raysafe.selection import kept_count, ranks, top_percent


def yes(n):
    return torch.ones(n, dtype=torch.bool)


@pytest.mark.parametrize(
    ("rows", "percent", "kept"),
    [
        (10, 70, 7), (10, 71, 8), (10, 70.0, 7), (1000, 0.1, 1), (3, 1, 1), (7, 100, 7), (100, 29, 29), (100, 7, 7),
        (100, 57.0, 57), (0, 50, 0),
    ],
)  # fmt: skip
def test_the_kept_count_is_exact(rows, percent, kept):
    """In floats 0.57 * 100 is 56.99999999999999 and 0.07 * 100 is 7.000000000000001, whose ceiling would be 8."""
    assert kept_count(rows, percent) == kept


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 5000), st.integers(1, 1000))
def test_the_kept_count_is_the_rational_ceiling(rows, tenths):
    assert kept_count(rows, tenths / 10) == math.ceil(Fraction(tenths, 1000) * rows)


@pytest.mark.parametrize("percent", [0, -1, 100.5])
def test_a_percentage_outside_0_to_100_is_refused(percent):
    with pytest.raises(ValueError, match="0 < percent <= 100"):
        kept_count(10, percent)


def test_the_rows_of_largest_score_are_kept():
    assert top_percent(torch.tensor([0.1, 0.9, 0.5, 0.7]), 50, yes(4)).tolist() == [False, True, False, True]


def test_ties_are_broken_by_row_index():
    assert top_percent(torch.tensor([1.0, 2.0, 1.0, 1.0]), 50, yes(4)).tolist() == [True, True, False, False]
    assert ranks(torch.zeros(300), yes(300)).tolist() == list(range(300))


def test_ineligible_rows_are_never_kept_and_rank_last():
    scores, eligible = torch.tensor([9.0, 1.0, 8.0, 2.0]), torch.tensor([False, True, False, True])
    assert ranks(scores, eligible).tolist()[1::2] == [1, 0] and set(ranks(scores, eligible).tolist()[::2]) == {2, 3}
    assert top_percent(scores, 25, eligible).tolist() == [False, False, False, True]


def test_the_share_counts_all_rows_so_that_fewer_may_be_kept():
    """75 % of 4 rows are 3, but only 2 are eligible."""
    assert top_percent(torch.arange(4.0), 75, torch.tensor([True, False, True, False])).sum() == 2


def test_100_percent_keeps_every_eligible_row():
    eligible = torch.tensor([True, False, True])
    assert top_percent(torch.tensor([float("-inf"), 5.0, 0.0]), 100, eligible).tolist() == eligible.tolist()


def test_scores_that_differ_beyond_float32_are_told_apart():
    scores = torch.tensor([1.0, 1.0 + 1e-12], dtype=torch.float64)
    assert ranks(scores, yes(2)).tolist() == [1, 0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=30), st.integers(1, 100), st.integers(1, 100))
def test_a_smaller_share_is_contained_in_a_larger_one(rows, one, other):
    scores, eligible = torch.tensor([float(s) for s, _ in rows]), torch.tensor([e for _, e in rows])
    small, large = (top_percent(scores, percent, eligible) for percent in sorted((one, other)))
    assert (small <= large).all()
    assert small.sum() == min(int(eligible.sum()), kept_count(len(rows), min(one, other)))
    if small.any() and (eligible & ~small).any():
        assert scores[small].min() >= scores[eligible & ~small].max()
