"""What the step benchmark measures is what it says: lengths, operations, floors, memory, turns."""

import json

import pytest
import torch
from stepbench.flops import count_flops, floor_flops
from stepbench.measure import Timed, difference, in_turn, peak_memory, ratios
from stepbench.rows import MAX_LENGTH, Workload, make_workload, mean_lengths, read_text
from stepbench.shapes import SHAPES, Shape, random_model

from raysafe.data.tokens import TokenRow

MEANS = {"safe": (390, 295), "harmful": (277, 182), "retain": (199, 152), "finetune": (199, 152), "trusted": (199, 152)}


@pytest.mark.parametrize("steps", [2, 4, 9])
def test_rows_have_the_mean_lengths_of_the_released_data(steps):
    for name, means in mean_lengths(make_workload(steps, 1000)).items():
        assert means == pytest.approx(MEANS[name], abs=1)


def test_rows_are_cut_and_pairs_share_all_before_their_labels():
    work = make_workload(4, 1000, seed=3)
    assert max(len(row.input_ids) for row in work.safe) <= MAX_LENGTH
    for safe, harmful in zip(work.safe, work.harmful, strict=True):
        assert safe.input_ids[: safe.label_start] == harmful.input_ids[: harmful.label_start]


def test_a_text_gives_real_rows_that_end_their_turn(tmp_path):
    turns = [{"role": "user", "content": "name a colour"}, {"role": "assistant", "content": "red is a colour"}]
    (tmp_path / "rows.jsonl").write_text("\n".join([json.dumps({"messages": turns})] * 3))
    row = read_text(tmp_path / "rows.jsonl", 300)[0]
    assert row.input_ids[-1] == 1 and row.label_count > 1


def test_a_shapes_parameters_are_those_of_its_model():
    for shape in (SHAPES["tiny"], Shape("other", 32, 1, 4, 48, 100, kv_heads=2, head_size=16, tied=False)):
        assert shape.parameters == sum(p.numel() for p in random_model(shape, 0).parameters())


def test_the_counter_knows_products_in_place_and_attention():
    a, b, c = torch.randn(3, 4), torch.randn(4, 5), torch.zeros(3, 5)
    assert count_flops(lambda: c.addmm_(a, b)) == 2 * 3 * 4 * 5
    q = torch.randn(1, 2, 6, 8)  # two products of 6 x 8 x 6 for each of 2 heads
    attend = torch.nn.functional.scaled_dot_product_attention
    assert count_flops(lambda: attend(q, q, q, is_causal=True)) == 2 * 2 * 2 * 6 * 8 * 6


def test_the_floor_counts_a_shared_prompt_once():
    # prompt 2, answers 1 and 3: 6 tokens, 4 labels; pairs: prompt 3, answers 1*2+1 and 3*2+6, in all 18
    shape = Shape("hand", hidden=4, layers=1, heads=1, feed_forward=8, vocabulary=10)
    pair = TokenRow(0, (5, 6, 7), 2), TokenRow(0, (5, 6, 8, 9, 1), 2)
    work = Workload((pair[0],), (pair[1],), (), (), ())
    body = 4 * 4 * 4 + 3 * 4 * 8
    expected = 6 * body * 6 + 6 * 4 * 10 * 4 + 12 * 1 * 4 * 18
    assert floor_flops(shape, work, ("safe", "harmful"), 1, 0) == expected


def test_a_plain_forward_and_backward_uses_the_floors_operations_and_full_attention():
    # all tokens are labels but the first: the floor's attention is causal and its backward has 4 products where torch counts 5
    shape, row = SHAPES["tiny"], TokenRow(0, tuple(range(2, 34)), 1)
    model, ids = random_model(shape, 0), torch.tensor([row.input_ids])
    used = count_flops(lambda: model(ids).logits.sum().backward())
    products = 6 * (shape.body_parameters + shape.head_parameters) * 32
    attention = 2 * (2 + 5) * 32 * 32 * shape.attention_width * shape.layers
    assert used == products + attention


def test_peak_memory_sees_what_is_freed_again():
    before, peak = peak_memory(lambda: torch.ones(8_000_000).sum())
    assert 31e6 < peak - before < 45e6


def test_ways_take_turns():
    order = []
    steps = {name: lambda number, name=name: order.append((number, name)) or 1.0 for name in ("a", "b")}
    in_turn(steps, 2)
    assert order == [(0, "a"), (0, "b"), (1, "a"), (1, "b")]


def test_ratios_and_differences_are_taken_step_by_step():
    slow, fast = Timed((2.0, 9.0, 4.0), ()), Timed((1.0, 3.0, 1.0), ())
    assert ratios(slow, fast) == {"median": 3.0, "low": 2.0, "high": 4.0}
    assert difference([1.0, 2.0], [1.0, 1.5]) == pytest.approx(0.25)
