"""How prefixes are drawn."""

import pytest
import tiny

from raysafe.config.sections import Prefix
from raysafe.data.tokens import prefix_lengths

ROWS = [tiny.triple(i) for i in range(400)]


def test_none_draws_no_prefix():
    assert prefix_lengths(ROWS, Prefix("none"), 0) == [0] * 400


@pytest.mark.parametrize("count", [0, 1, 2, 5, 400])
def test_half_leaves_half_of_the_rows_without_a_prefix(count):
    drawn = prefix_lengths(ROWS[:count], Prefix("half", 100), 3)
    assert drawn.count(0) == count // 2 and all(0 <= k <= 100 for k in drawn)


@pytest.mark.parametrize("mode", ["half", "uniform"])
def test_prefixes_are_uniform_over_1_to_the_longest(mode):
    drawn = [k for seed in range(20) for k in prefix_lengths(ROWS, Prefix(mode, 4), seed) if k]
    expected = len(drawn) / 4
    assert set(drawn) == {1, 2, 3, 4} and all(abs(drawn.count(k) - expected) < 0.1 * expected for k in range(1, 5))


def test_uniform_gives_every_row_a_prefix():
    assert min(prefix_lengths(ROWS, Prefix("uniform", 100), 0)) == 1


def test_the_seed_decides_the_draw():
    one, again, other = (prefix_lengths(ROWS, Prefix("half", 100), seed) for seed in (0, 0, 1))
    assert one == again != other
    assert [k == 0 for k in one] != [k == 0 for k in other]
