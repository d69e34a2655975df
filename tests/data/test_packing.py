"""Rows in one line: who stands where, who sees what, and what predicts each label."""

import pytest
import torch

from raysafe.data.batches import whole_blocks
from raysafe.data.packing import Segment, filled, pack
from raysafe.data.tokens import TokenRow

PROMPT = tuple(range(100, 110))
SAFE, HARMFUL = TokenRow(0, (*PROMPT, 1, 2, 3), 10), TokenRow(0, (*PROMPT, 4, 5), 10)
OTHER = TokenRow(1, (7, 8, 9), 1)


def test_rows_follow_one_another_and_count_their_own_positions():
    packed = pack([OTHER, TokenRow(2, (7, 6), 1)])
    assert packed.input_ids_1S.tolist() == [[7, 8, 9, 7, 6]] and packed.position_ids_1S.tolist() == [[0, 1, 2, 0, 1]]
    assert packed.segments == (Segment(0, 3), Segment(3, 5))


def test_a_label_is_predicted_by_the_token_before_it_in_its_own_row():
    packed = pack([OTHER, TokenRow(2, (7, 6), 1)])
    assert packed.labels_L.tolist() == [8, 9, 6] and packed.sources_L.tolist() == [0, 1, 3]


def test_two_answers_to_one_prompt_share_it():
    """The second answer's two tokens stand after the first row, at positions 10 and 11, and see the prompt's ten."""
    packed = pack([SAFE, OTHER, HARMFUL])
    assert packed.input_ids_1S.tolist() == [[*PROMPT, 1, 2, 3, 7, 8, 9, 4, 5]]
    assert packed.position_ids_1S.tolist() == [[*range(13), 0, 1, 2, 10, 11]]
    assert packed.segments == (Segment(0, 13), Segment(13, 16), Segment(16, 18, 0, 10))


def test_both_first_labels_are_predicted_by_the_prompts_last_token():
    packed = pack([SAFE, OTHER, HARMFUL])
    assert packed.labels_L.tolist() == [1, 2, 3, 8, 9, 4, 5]
    assert packed.sources_L.tolist() == [9, 10, 11, 13, 14, 9, 16]


def test_short_prompts_and_other_prompts_are_not_shared():
    twice = [TokenRow(0, (5, 6, 1), 2), TokenRow(0, (5, 6, 2), 2)]
    assert pack(twice).segments == (Segment(0, 3), Segment(3, 6))
    assert pack([SAFE, TokenRow(1, (*PROMPT[:-1], 99, 4), 10)]).segments == (Segment(0, 13), Segment(13, 24))


def test_a_third_answer_shares_with_the_first():
    packed = pack([SAFE, HARMFUL, SAFE])
    assert packed.segments[2] == Segment(15, 18, 0, 10) and packed.sources_L.tolist()[-3:] == [9, 15, 16]


def test_a_line_is_filled_up_to_whole_blocks_by_a_segment_that_nobody_sees():
    packed = pack([TokenRow(0, tuple(range(2, 23)), 3)])
    line = filled(packed)
    assert line.input_ids_1S.shape == line.position_ids_1S.shape == (1, 24) and line.segments[-1] == Segment(21, 24)
    assert torch.equal(line.input_ids_1S[:, :21], packed.input_ids_1S) and line.segments[:-1] == packed.segments
    assert torch.equal(line.labels_L, packed.labels_L) and filled(line) is line


@pytest.mark.parametrize(("count", "blocks"), [(0, 16), (1, 16), (16, 16), (17, 24), (128, 128)])
def test_whole_blocks_are_eights_and_at_least_two(count, blocks):
    assert whole_blocks(count) == blocks
