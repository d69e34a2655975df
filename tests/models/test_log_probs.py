"""Label log-probabilities against a straightforward computation."""

import pytest
import tiny
import torch

from raysafe.data.batches import pad_rows
from raysafe.data.tokens import TokenRow
from raysafe.models.log_probs import frozen_label_log_probs, label_log_probs

ROWS = tiny.token_rows(7, seed=1)


@pytest.fixture(scope="module")
def model():
    return tiny.llama()


def straightforward(model, row):
    """One row, no padding, log_softmax over everything; the label at t is predicted at t - 1."""
    logits = model(input_ids=torch.tensor([row.input_ids])).logits[0].double()
    log_probs = torch.log_softmax(logits, dim=-1)
    return torch.stack([log_probs[t - 1, row.input_ids[t]] for t in range(row.label_start, len(row.input_ids))])


def test_they_are_the_log_softmax_at_the_token_before_each_label(model):
    log_probs = label_log_probs(model, *pad_rows(ROWS, 0))
    for line, row in enumerate(ROWS):
        got = log_probs[line, row.label_start : len(row.input_ids)]
        torch.testing.assert_close(got.double(), straightforward(model, row), rtol=1e-5, atol=1e-5)


def test_they_are_zero_outside_the_labels_and_float32(model):
    ids, attention, labels = pad_rows(ROWS, 0)
    log_probs = label_log_probs(model, ids, attention, labels)
    assert (log_probs[labels == 0] == 0).all() and (log_probs[labels == 1] < 0).all() and log_probs.dtype == torch.float32


def test_a_bfloat16_model_gives_float32_near_the_exact_values(model):
    batch = pad_rows(ROWS, 0)
    coarse = label_log_probs(tiny.llama().to(torch.bfloat16), *batch)
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse, label_log_probs(model, *batch), rtol=0.1, atol=0.3)


def test_their_gradient_is_that_of_the_straightforward_computation():
    one, other = tiny.llama(), tiny.llama()
    label_log_probs(one, *pad_rows(ROWS, 0)).sum().backward()
    sum(straightforward(other, row).sum() for row in ROWS).backward()
    for (name, a), (_, b) in zip(one.named_parameters(), other.named_parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-3, msg=name)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_frozen_ones_come_in_the_rows_order_whatever_the_batches(model, batch_size):
    values = frozen_label_log_probs(model, ROWS, 0, batch_size)
    assert [len(value) for value in values] == [row.label_count for row in ROWS]
    for value, row in zip(values, ROWS, strict=True):
        assert value.dtype == torch.float32 and not value.requires_grad
        torch.testing.assert_close(value.double(), straightforward(model, row).detach(), rtol=1e-5, atol=1e-5)


def test_frozen_ones_are_batched_by_length(model):
    class Counting(torch.nn.Module):
        padded = 0

        def forward(self, input_ids, attention_mask, use_cache):
            Counting.padded += int((attention_mask == 0).sum())
            return model(input_ids=input_ids, attention_mask=attention_mask, use_cache=use_cache)

    rows = [TokenRow(i, tuple(range(2, 2 + length)), 1) for i, length in enumerate((3, 9, 3, 9))]
    frozen_label_log_probs(Counting(), rows, 0, batch_size=2)
    assert Counting.padded == 0


def test_no_rows_give_no_values(model):
    assert frozen_label_log_probs(model, [], 0, 4) == []
