"""The one place that reduces: any split of a step gives the same loss and gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import CHAIN

from raysafe.objectives import batch_means, total_loss


def step(values, sizes, weights):
    """Loss of a step whose rows are split into micro-batches of the given sizes; gradient by row and the summed means."""
    leaf = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    rows = {"align": int(sum(weights)), "retain": int(sum(weights))}
    total, start = 0.0, 0
    for size in sizes:
        part, mask = leaf[start : start + size], torch.tensor(weights[start : start + size])
        losses = {"align": part**2, "retain": 3 * part}
        share = total_loss(batch_means(losses, {"align": mask, "retain": mask}, rows), alpha=0.2)
        share.backward()
        total += share.item()
        start += size
    return total, leaf.grad


@st.composite
def splits(draw):
    values = draw(st.lists(st.floats(-5, 5), min_size=1, max_size=12))
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(values) - 1)), max_size=4)) | {0, len(values)})
    return values, [b - a for a, b in zip(cuts, cuts[1:], strict=False)]


@settings(max_examples=60, deadline=None)
@given(splits())
def test_any_split_into_micro_batches_gives_the_same_loss_and_gradient(split):
    values, sizes = split
    weights = [1.0] * len(values)
    whole, whole_grad = step(values, [len(values)], weights)
    parts, parts_grad = step(values, sizes, weights)
    assert parts == pytest.approx(whole, rel=CHAIN, abs=CHAIN)
    torch.testing.assert_close(parts_grad, whole_grad, rtol=CHAIN, atol=CHAIN)


def test_the_mean_is_over_the_steps_rows():
    """align (1 + 9) / 2 = 5, retain 3 (1 + 3) / 2 = 6: 0.2 * 5 + 0.8 * 6 = 5.8."""
    assert step([1.0, 3.0], [1, 1], [1.0, 1.0])[0] == pytest.approx(5.8)


@pytest.mark.parametrize("junk", [7.0, float("inf"), float("nan")])
def test_a_filler_row_counts_nothing_whatever_its_loss(junk):
    losses = torch.tensor([2.0, junk], requires_grad=True)
    means = batch_means({"retain": losses}, {"retain": torch.tensor([1.0, 0.0])}, {"retain": 1})
    means["retain"].backward()
    assert means["retain"].item() == 2.0 and losses.grad.tolist() == [1.0, 0.0]


def test_streams_of_different_length_are_averaged_by_their_own_rows():
    losses = {"align": torch.tensor([1.0, 3.0]), "retain": torch.tensor([4.0])}
    weights = {"align": torch.ones(2), "retain": torch.ones(1)}
    means = batch_means(losses, weights, {"align": 2, "retain": 1})
    assert (means["align"].item(), means["retain"].item()) == (2.0, 4.0)


def test_without_an_alignment_term_the_retain_term_has_all_the_weight():
    assert total_loss({"retain": torch.tensor(3.0)}, alpha=0.9).item() == 3.0


def test_a_worker_with_filler_rows_only_contributes_zero():
    means = batch_means({"retain": torch.tensor([5.0])}, {"retain": torch.zeros(1)}, {"retain": 0})
    assert means["retain"].item() == 0.0
