"""Which rows a step sees, how they are split, and the tensors they become."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raysafe.data.batches import Share, collate, cycled, label_mask, lay_out, pad_rows, shuffled, split
from raysafe.data.tokens import TokenRow


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 40), st.integers(0, 3), st.integers(0, 3))
def test_one_pass_covers_every_row_exactly_once(rows, seed, number):
    assert sorted(shuffled(rows, seed, "retain", number)) == list(range(rows))


def test_passes_seeds_and_streams_have_orders_of_their_own():
    orders = {shuffled(50, seed, salt, number) for seed in (0, 1) for salt in ("retain", "align") for number in (0, 1)}
    assert len(orders) == 8 and shuffled(50, 0, "retain", 0) in orders


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12), st.integers(0, 40), st.integers(0, 40))
def test_a_cycled_stream_covers_its_rows_evenly(rows, start, count):
    seen = Counter(cycled(rows, 0, "align", 0, count))
    counts = [seen[row] for row in range(rows)]
    assert max(counts) - min(counts) <= 1
    assert cycled(rows, 0, "align", start, count) == cycled(rows, 0, "align", 0, start + count)[start:]


def test_every_pass_of_a_cycled_stream_is_shuffled_anew():
    order = cycled(20, 0, "align", 0, 40)
    assert order[:20] != order[20:] and order[:20] != cycled(20, 1, "align", 0, 20)


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.data())
def test_however_a_step_is_split_its_rows_are_there_once_in_order(accumulation, workers, size, data):
    batch = accumulation * workers * size
    positions = list(range(data.draw(st.integers(0, batch))))
    shares = split(positions, batch, accumulation, workers)
    assert len(shares) == accumulation and all(len(micro) == workers for micro in shares)
    flat = [place for micro in shares for share in micro for place in share.positions]
    assert [place for place in flat if place is not None] == positions and len(flat) == batch
    assert {len(share.positions) for micro in shares for share in micro} == {size}


ROWS = {
    "retain": [TokenRow(0, (5, 6, 7), 1), TokenRow(1, (8, 9, 10, 11), 3)],
    "safe": [TokenRow(0, (12, 13), 1)],
}


def test_a_batch_holds_the_rows_of_all_streams():
    batch = collate({"retain": Share((1, 0)), "safe": Share((0,))}, ROWS)
    assert batch.rows == (ROWS["retain"][1], ROWS["retain"][0], ROWS["safe"][0])
    assert batch.streams == {"retain": slice(0, 2), "safe": slice(2, 3)}
    assert batch.positions == {"retain": (1, 0), "safe": (0,)} and batch.weights_B.tolist() == [1, 1, 1]


def test_a_filler_repeats_the_first_row_at_weight_zero():
    batch = collate({"retain": Share((1, None))}, ROWS)
    assert batch.weights_B.tolist() == [1.0, 0.0] and batch.positions["retain"] == (1, 0)
    assert batch.rows[1] == ROWS["retain"][0]


def test_rows_are_padded_on_the_right():
    ids, attention, labels = pad_rows([ROWS["retain"][1], ROWS["retain"][0], ROWS["safe"][0]], pad_id=99)
    assert ids.tolist() == [[8, 9, 10, 11], [5, 6, 7, 99], [12, 13, 99, 99]]
    assert attention.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]]
    assert labels.tolist() == [[0, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 0]]


def test_the_pad_token_among_the_tokens_is_attended_to():
    assert pad_rows([TokenRow(0, (7, 7, 3), 2)], pad_id=7)[1].tolist() == [[1, 1, 1]]


def test_values_are_laid_out_by_row_from_the_left():
    """Label counts 2, 1 and 1."""
    mask = label_mask([ROWS["retain"][0], ROWS["retain"][1], ROWS["safe"][0]])
    assert mask.tolist() == [[1, 1], [1, 0], [1, 0]]
    assert lay_out(torch.tensor([1.0, 2.0, 3.0, 4.0]), mask).tolist() == [[1, 2], [3, 0], [4, 0]]


def test_a_token_row_counts_its_labels():
    assert TokenRow(0, (1, 2, 3, 4), 1).label_count == 3


@pytest.mark.parametrize("accumulation", [1, 2, 4])
def test_the_rows_of_a_step_do_not_depend_on_the_split(accumulation):
    shares = split([3, 1, 2, 0], 4, accumulation, 4 // accumulation)
    assert [place for micro in shares for share in micro for place in share.positions] == [3, 1, 2, 0]
