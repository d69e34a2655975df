"""Rank correlation, overlap, shares and recall: by hand, against plain Python, and where they are not defined."""

import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import CHAIN

from raysafe.selection.measures import distribution, jaccard, mean_ranks, planted_recall, spearman, unsafe_share

numbers = st.integers(-3, 3)
several = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20)


def floats(*values):
    return torch.tensor(values, dtype=torch.float64)


def yes(*values):
    return torch.tensor(values, dtype=torch.bool)


def ranks_by_counting(values):
    """Those below, and half of the others that tie."""
    return [1 + sum(b < a for b in values) + (values.count(a) - 1) / 2 for a in values]


def spearman_by_definition(one, other):
    one, other = ranks_by_counting(one), ranks_by_counting(other)
    constant = len(set(one)) == 1 or len(set(other)) == 1
    return None if len(one) < 2 or constant else statistics.correlation(one, other)


def test_tied_values_share_the_mean_of_their_ranks():
    """1 is first; the two 5 would be second and third."""
    assert mean_ranks(floats(5, 1, 5, 9)).tolist() == [2.5, 1, 2.5, 4]


def test_spearman_by_hand_without_ties():
    """Ranks 1 2 3 4 5 and 2 1 4 3 5: differences 1 1 1 1 0, 1 - 6 * 4 / (5 * 24) = 0.8."""
    assert spearman(floats(10, 20, 30, 40, 50), floats(0.2, 0.1, 0.4, 0.3, 0.5)) == pytest.approx(0.8, abs=CHAIN)


def test_spearman_by_hand_with_a_tie():
    """Ranks 1 2 3 and 1.5 1.5 3: deviations (-1, 0, 1) and (-.5, -.5, 1): 1.5 / sqrt(2 * 1.5) = sqrt(3) / 2."""
    assert spearman(floats(1, 2, 3), floats(7, 7, 8)) == pytest.approx(math.sqrt(3) / 2, abs=CHAIN)


@settings(max_examples=150, deadline=None)
@given(several)
def test_spearman_is_what_its_definition_says(rows):
    one, other = [float(a) for a, _ in rows], [float(b) for _, b in rows]
    expected, got = spearman_by_definition(one, other), spearman(floats(*one), floats(*other))
    assert got == (None if expected is None else pytest.approx(expected, abs=CHAIN))


@settings(max_examples=50, deadline=None)
@given(several)
def test_spearman_sees_the_order_alone_and_is_symmetric(rows):
    one, other = (floats(*side) for side in zip(*rows, strict=True))
    value = spearman(one, other)
    assert value == spearman(other, one)
    if value is not None:
        assert spearman(one.exp(), other**3) == pytest.approx(value, abs=CHAIN)
        assert spearman(one, -other) == pytest.approx(-value, abs=CHAIN)


@pytest.mark.parametrize("one", [floats(), floats(1), floats(2, 2, 2), floats(1, math.nan, 2)])
def test_spearman_is_none_where_it_is_not_defined(one):
    assert spearman(one, torch.arange(len(one)).double()) is None


def test_scores_may_differ_by_infinity():
    assert spearman(floats(-math.inf, 0, 1), floats(1, 2, 3)) == pytest.approx(1.0)


def test_jaccard_by_hand():
    """Rows 0 and 1 against 1 and 2: one of three. Two empty sets have no overlap to speak of."""
    assert jaccard(yes(1, 1, 0, 0), yes(0, 1, 1, 0)) == pytest.approx(1 / 3)
    assert jaccard(yes(0, 0), yes(0, 0)) is None


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_jaccard_is_that_of_sets(rows):
    one, other = ({n for n, row in enumerate(rows) if row[side]} for side in (0, 1))
    expected = len(one & other) / len(one | other) if one | other else None
    assert jaccard(*(yes(*side) for side in zip(*rows, strict=True))) == expected


def test_unsafe_share_by_hand():
    """Of the three kept rows one is unsafe; of none there is no share."""
    assert unsafe_share(yes(1, 1, 1, 0), yes(0, 1, 0, 1)) == pytest.approx(1 / 3)
    assert unsafe_share(yes(0, 0), yes(1, 0)) is None


def test_planted_recall_by_hand():
    """Scores 9 8 7 ... 0, rows 1, 5 and 9 planted. Top 20 %: rows 0 and 1, so two of three are outside; top 60 %: one is."""
    scores, planted, usable = torch.arange(9, -1, -1).double(), torch.zeros(10, dtype=torch.bool), torch.ones(10).bool()
    planted[[1, 5, 9]] = True
    found = [planted_recall(scores, planted, usable, percent) for percent in (10, 20, 60, 100)]
    assert found == pytest.approx([1, 2 / 3, 1 / 3, 0])


def test_planted_rows_that_tie_at_the_cut_are_inside_with_the_share_that_has_room():
    """Top 50 % of 4 rows: row 0, and one of the three that tie: each planted one is outside with 2/3."""
    assert planted_recall(floats(2, 1, 1, 1), yes(0, 0, 1, 1), yes(1, 1, 1, 1), 50) == pytest.approx(2 / 3)


@pytest.mark.parametrize("percent", [10, 50, 80])
def test_a_ranking_of_equal_scores_finds_no_more_than_a_random_one(percent):
    planted = torch.arange(100) >= 90
    assert planted_recall(torch.zeros(100), planted, torch.ones(100).bool(), percent) == pytest.approx(1 - percent / 100)


def test_planted_rows_that_were_dropped_are_not_counted():
    assert planted_recall(floats(3, 2, 1, 0), yes(0, 0, 1, 1), yes(1, 1, 0, 1), 75) == 0.0
    assert planted_recall(floats(1, 0), yes(0, 1), yes(1, 0), 50) is None
    assert planted_recall(floats(1), yes(0), yes(1), 50) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(numbers, st.booleans(), st.booleans()), min_size=1, max_size=20), st.integers(1, 100))
def test_planted_recall_lies_in_0_to_1_and_falls_with_p(rows, percent):
    scores, planted, usable = (torch.tensor(side) for side in zip(*rows, strict=True))
    found = [planted_recall(scores.double(), planted, usable, p) for p in (percent, 100)]
    assert (found[0] is None) == (not any(p and u for _, p, u in rows))
    if found[0] is not None:
        assert 0 <= found[1] <= found[0] <= 1


def test_a_distribution_by_hand():
    """0, 1, 2, 3, 4: mean 2, variance 10 / 5; the 5 % quantile lies a fifth of the way from 0 to 1."""
    told = distribution(floats(3, 1, 4, 0, 2, math.inf, math.nan))
    assert (told.count, told.mean, told.min, told.max, told.q25, told.q50, told.q75) == (5, 2, 0, 4, 1, 2, 3)
    assert (told.std, told.q5, told.q95) == pytest.approx((math.sqrt(2), 0.2, 3.8))


def test_one_score_has_a_distribution_and_none_has_not():
    assert distribution(floats(0.5)).std == 0.0 and distribution(floats(0.5)).q95 == 0.5
    assert distribution(floats()) is None and distribution(floats(math.nan)) is None
