"""What the step benchmark compares is the same step: equal losses, whichever way they are computed."""

import pytest
import torch
from stepbench.measure import difference
from stepbench.methods import METHODS, SETTINGS
from stepbench.ours import OurDpoAlone, our_step
from stepbench.published import IGNORED, padded, published_step
from stepbench.rows import MAX_LENGTH, make_workload
from stepbench.shapes import SHAPES
from tolerances import likely, network

from raysafe.data.tokens import TokenRow

TINY = SHAPES["tiny"]
WORK = make_workload(2, TINY.vocabulary)
TERMS = network(TINY.layers, TINY.hidden, TINY.feed_forward, MAX_LENGTH, TINY.vocabulary)
NEAR = likely(TERMS, torch.float32)
"""Relative, of losses of the same sign; 2e-5. The one step between them moves a loss of some hundred nats by less."""


@pytest.mark.parametrize("name", METHODS)
def test_our_losses_are_those_of_the_published_way_step_after_step(name):
    ways = [make(METHODS[name], TINY, WORK) for make in (published_step, our_step)]
    losses = [[way.step(number) for number in range(2)] for way in ways]
    assert difference(*losses) < NEAR


def test_omega_moves_as_autograd_moves_it():
    published, ours = (make(METHODS["seal"], TINY, WORK) for make in (published_step, our_step))
    for way in (published, ours):
        way.step(0)
    assert ours.state.omega_N.tolist() == pytest.approx(published.omega.tolist(), rel=NEAR)


def test_trl_sees_our_tokens_and_finds_our_loss():
    trl_dpo = pytest.importorskip("stepbench.trl_dpo", reason="TRL is a development dependency")
    pytest.importorskip("trl")
    # TRL sums each model's float32 log-probabilities, some 2,000 nats, before it takes differences: four sums right to u, 5e-4
    ours = OurDpoAlone(METHODS["dpo"], TINY, WORK).step(0)
    for make in (trl_dpo.trl_live, trl_dpo.trl_precomputed):
        trl = make(METHODS["dpo"], TINY, WORK)
        row, first = WORK.safe[0], trl.trainer.train_dataset[0]
        assert (*first["prompt_ids"], *first["chosen_ids"])[: len(row.input_ids)] == row.input_ids
        assert trl.step(0) == pytest.approx(ours, rel=1e-3)


def test_padding_reaches_the_length_and_is_no_label():
    batch = padded([TokenRow(0, (5, 6, 7), 1)], 5)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 6, 7, IGNORED, IGNORED]]


def test_every_way_is_trained_alike():
    published, ours = (make(METHODS["door"], TINY, WORK) for make in (published_step, our_step))
    for key in ("lr", "betas", "weight_decay", "eps"):
        assert published.optimizer.defaults[key] == ours.engine.optimizer.defaults[key]
    assert SETTINGS.clip == 1.0
