"""Label log-probabilities against a straightforward computation, padded and packed."""

import pytest
import tiny
import torch
from tolerances import BACKWARD, TINY, likely

from raysafe.data.tokens import TokenRow
from raysafe.models.log_probs import frozen_label_log_probs, padded_label_log_probs
from raysafe.models.policy import Policy

ROWS = tiny.token_rows(7, seed=1)
SINGLE = {"rtol": likely(TINY, torch.float32), "atol": 8 * likely(TINY, torch.float32)}
"""Of log-probabilities in float32; logits are of up to 8."""


@pytest.fixture(scope="module")
def model():
    return tiny.exact_llama()


def straightforward(model, row):
    """One row, no padding, log_softmax over everything; the label at t is predicted at t - 1."""
    logits = model(input_ids=torch.tensor([row.input_ids])).logits[0].double()
    log_probs = torch.log_softmax(logits, dim=-1)
    return torch.stack([log_probs[t - 1, row.input_ids[t]] for t in range(row.label_start, len(row.input_ids))])


def test_they_are_the_log_softmax_at_the_token_before_each_label(model):
    expected = torch.cat([straightforward(model, row) for row in ROWS])
    torch.testing.assert_close(padded_label_log_probs(model, ROWS), expected, rtol=0, atol=8 * likely(TINY))


def test_a_bfloat16_model_gives_float32_near_the_exact_values(model):
    """Some fifteen results a layer are rounded to bfloat16, sums are not; logits are of up to 8."""
    coarse = padded_label_log_probs(tiny.llama().to(torch.bfloat16), ROWS)
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse, padded_label_log_probs(model, ROWS).float(), rtol=0, atol=8 * likely(30, torch.bfloat16))


def test_their_gradient_is_that_of_the_straightforward_computation():
    one, other = tiny.exact_llama(), tiny.exact_llama()
    padded_label_log_probs(one, ROWS).sum().backward()
    sum(straightforward(other, row).sum() for row in ROWS).backward()
    for (name, a), (_, b) in zip(one.named_parameters(), other.named_parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=8 * likely(BACKWARD * TINY), msg=name)


@pytest.mark.parametrize("batching", ["packed", "padded"])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_frozen_ones_come_in_the_rows_order_whatever_the_batches(model, batch_size, batching):
    values = frozen_label_log_probs(Policy(tiny.llama(), batching), ROWS, batch_size)
    assert [len(value) for value in values] == [row.label_count for row in ROWS]
    for value, row in zip(values, ROWS, strict=True):
        assert value.dtype == torch.float32 and not value.requires_grad
        torch.testing.assert_close(value.double(), straightforward(model, row).detach(), **SINGLE)


def test_frozen_ones_are_batched_by_length():
    seen = []

    def policy(rows):
        seen.append([len(row.input_ids) for row in rows])
        return None, torch.zeros(sum(row.label_count for row in rows))

    rows = [TokenRow(i, tuple(range(2, 2 + length)), 1) for i, length in enumerate((3, 9, 3, 9))]
    frozen_label_log_probs(policy, rows, batch_size=2)
    assert seen == [[3, 3], [9, 9]]


def test_no_rows_give_no_values(model):
    assert frozen_label_log_probs(Policy(model, "padded"), [], 4) == []
