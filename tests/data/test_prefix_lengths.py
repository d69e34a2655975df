"""How prefixes are drawn."""

from random import Random

import pytest
import tiny

from raysafe.config.sections import Prefix
from raysafe.data.tokens import encode_triples, prefix_lengths

LONG = [1000] * 400


def test_none_draws_no_prefix():
    assert prefix_lengths(LONG, Prefix("none"), 0) == [0] * 400


@pytest.mark.parametrize("count", [0, 1, 2, 5, 400])
def test_half_leaves_half_of_the_rows_without_a_prefix(count):
    drawn = prefix_lengths(LONG[:count], Prefix("half", 100), 3)
    assert drawn.count(0) == count // 2 and all(0 <= k <= 100 for k in drawn)


@pytest.mark.parametrize("mode", ["half", "uniform"])
def test_prefixes_are_uniform_over_1_to_the_longest(mode):
    drawn = [k for seed in range(20) for k in prefix_lengths(LONG, Prefix(mode, 4), seed) if k]
    expected = len(drawn) / 4
    assert set(drawn) == {1, 2, 3, 4} and all(abs(drawn.count(k) - expected) < 0.1 * expected for k in range(1, 5))


def test_of_a_short_answer_a_prefix_is_uniform_over_what_leaves_a_token():
    drawn = [prefix_lengths([2], Prefix("uniform", 100), seed)[0] for seed in range(400)]
    assert set(drawn) == {1, 2} and 150 < drawn.count(1) < 250  # binomial(400, 1/2): five standard deviations are 50


@pytest.mark.parametrize("mode", ["half", "uniform"])
def test_what_has_no_room_for_a_prefix_gets_none(mode):
    drawn = prefix_lengths([0, -1, 3, 0], Prefix(mode, 100), 0)
    assert [k > 0 for k in drawn] == [False, False, True, False]


def test_half_of_all_rows_have_a_prefix_those_that_bring_their_own_among_them():
    assert sum(k > 0 for k in prefix_lengths([9] * 6, Prefix("half"), 0, given=4)) == 1
    assert sum(k > 0 for k in prefix_lengths([9] * 4, Prefix("half"), 0, given=4)) == 0  # the released augmented files
    assert sum(k > 0 for k in prefix_lengths([9] * 4, Prefix("uniform"), 0, given=4)) == 4


@pytest.mark.parametrize("limit", [5, 100])
def test_half_of_the_kept_rows_are_augmented_whatever_their_answers_lengths(limit):
    """With answers of about 20 tokens and prefixes of up to 100, 11 % once were."""
    random = Random(0)
    rows = [tiny.triple(i, harmful="how " * random.randint(1, 8)) for i in range(200)]
    kept, dropped = encode_triples(rows, tiny.chat(), 512, Prefix("half", limit), 0)
    assert not dropped and sum(pair.prefix_length > 0 for pair in kept) == 100
    assert all(pair.harmful.label_count >= 2 for pair in kept)  # a token of y_h and its end of turn


def test_uniform_gives_every_row_a_prefix():
    assert min(prefix_lengths(LONG, Prefix("uniform", 100), 0)) == 1


def test_the_seed_decides_the_draw():
    one, again, other = (prefix_lengths(LONG, Prefix("half", 100), seed) for seed in (0, 0, 1))
    assert one == again != other
    assert [k == 0 for k in one] != [k == 0 for k in other]
