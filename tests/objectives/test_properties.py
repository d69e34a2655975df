"""What holds for rows of any shape and number: order, padding, and what stands outside the mask."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from objective_cases import CASES, changed, gradients, poisoned, random_streams, run
from tolerances import FORMULA, worst

names = st.sampled_from(sorted(CASES))
properties = settings(max_examples=120, deadline=None)


@st.composite
def batches(draw):
    """Streams of 1 to 5 rows in 1 to 8 positions, of up to 300 nats a token; a row may fill all positions or one."""
    objective, width = CASES[draw(names)], draw(st.integers(1, 8))
    labels = draw(st.lists(st.integers(1, width), min_size=1, max_size=5))
    seed, scale = draw(st.integers(0, 10**6)), draw(st.sampled_from([1e-3, 1.0, 30.0, 300.0]))
    return objective, random_streams(objective, seed, scale=scale, shape=(len(labels), width), labels=labels)


def exponent(streams):
    """Roundings of exp of a row's sums: of such a sum there are up to twenty, and they come out multiplied by its terms."""
    rows = (
        abs(log_probs.detach() * stream.mask_BT).sum(-1)
        for stream in streams.values()
        for log_probs in (stream.policy_BT, *stream.frozen.values())
    )
    return 20 * float(sum(rows).max())


def same(found, expected, rtol=0.0):
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=rtol, atol=0)


@properties
@given(batches(), st.randoms())
def test_any_order_of_the_rows_gives_their_losses_in_that_order(batch, random):
    objective, streams = batch
    order = list(range(len(streams["retain"].lengths_B)))
    random.shuffle(order)
    moved = objective(changed(streams, lambda t: t[order], lambda t: t[order]))
    same(moved, {name: loss[order] for name, loss in objective(streams).items()}, rtol=FORMULA)


@properties
@given(batches(), st.integers(1, 9), st.sampled_from([0.0, -1e9, float("nan")]))
def test_any_number_of_masked_positions_changes_neither_loss_nor_gradient(batch, extra, junk):
    objective, streams = batch
    width = streams["retain"].mask_BT.shape[1]
    wide = poisoned(changed(streams, lambda t: torch.nn.functional.pad(t.detach(), (0, extra))), junk)
    same(run(objective, wide), run(objective, streams), rtol=worst(90 + exponent(streams)))
    same(
        {name: gradient[:, :width] for name, gradient in gradients(wide).items()},
        gradients(streams),
        rtol=worst(9000 + exponent(streams)),
    )
    assert not any(gradient[:, width:].any() for gradient in gradients(wide).values())


@properties
@given(batches(), st.sampled_from([float("inf"), float("-inf"), float("nan"), 1e300]))
def test_no_number_outside_the_mask_leaks_into_loss_or_gradient(batch, poison):
    objective, streams = batch
    dirty = poisoned(streams, poison)
    same(run(objective, dirty), run(objective, streams))
    same(gradients(dirty), gradients(streams))


@properties
@given(batches())
def test_losses_but_gradient_ascents_are_never_negative(batch):
    """Every term is -log of a probability with a weight of 0 or more, but for the one that is minimised without a bound."""
    objective, streams = batch
    losses = objective(streams)
    assert (losses["retain"] >= 0).all()
    assert "align" not in losses or objective.name.startswith("ga") or (losses["align"] >= 0).all()
