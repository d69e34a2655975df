"""Interrupted anywhere and gone on with, a training gives the bit-same weights and a selector the bit-same scores."""

from dataclasses import replace

import pytest
import tiny
import torch
from peft import LoraConfig, get_peft_model
from test_one_trajectory import data, pairs
from tolerances import TINY, likely

from raysafe.config.sections import TrainingSettings
from raysafe.context import Context, local_context
from raysafe.objectives.door import Door
from raysafe.ranking.learning import SelectorData, SelectorRun, engine_settings, learned_state, open_learners
from raysafe.selection.seal import Seal
from raysafe.training.engine import DeepSpeedEngine, PlainEngine
from raysafe.training.loop import train
from raysafe.training.step import Run

SETTINGS = TrainingSettings(epochs=3, batch_size=3, lr=3e-3, warmup_steps=2, decay="linear")
STEPS = 3 * 3
SCORES = 3 * (2 / 6) * 13 * 2 * 8 * likely(TINY, torch.float32)
"""Three visits, each by (lr / B) w_j times a difference of two losses: lr 2, B 6, w at most N = 13, losses up to 8 nats."""


class PowerCut(Exception):
    pass


class Cut(Context):
    """Breaks down before a given step, counted from 0 over everything that is run with it."""

    def __init__(self, base, step):
        super().__init__(base.report_row, base.device)
        object.__setattr__(self, "left", step)

    def check_stop(self):
        object.__setattr__(self, "left", self.left - 1)
        if self.left < 0:
            raise PowerCut


def adapted():
    """With dropout, so that a resumed run must draw what the straight one drew."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return get_peft_model(tiny.llama(), LoraConfig(r=2, lora_dropout=0.3, target_modules=["q_proj", "v_proj"]))


def trained(make_model, folder, cut=None, make_engine=PlainEngine, settings=SETTINGS):
    """Weights after the last epoch; with `cut`, broken down before that step and started once more."""
    base = local_context()
    for context in ([] if cut is None else [Cut(base, cut)]) + [base]:
        engine = make_engine(make_model, settings, context.device)
        try:
            train(engine, Run(Door(), data(Door(), model=tiny.llama), settings, 5), context, lambda e, n: {}, folder)
        except PowerCut:
            engine.close()
    return torch.cat([value.flatten() for value in engine.full_state().values()])


@pytest.mark.parametrize("make_model", [tiny.llama, adapted], ids=["whole model", "adapter with dropout"])
def test_a_training_cut_before_any_step_ends_bit_the_same(make_model, tmp_path):
    straight = trained(make_model, tmp_path / "straight")
    for cut in range(STEPS):
        assert torch.equal(trained(make_model, tmp_path / str(cut), cut), straight), cut


def ranked(seal, folder, cut=None, make_engine=PlainEngine, training=None):
    """omega after the last epoch, and the scores reported on the way."""
    rows = SelectorData(pairs(13)["safe"], tiny.token_rows(9, seed=4), 13, None)
    settings = engine_settings(seal, training or TrainingSettings())
    base = local_context()
    for context in ([] if cut is None else [Cut(base, cut)]) + [base]:
        try:
            with open_learners(seal, make_engine, tiny.llama, settings, base.device) as learners:
                omega = learned_state(learners, SelectorRun(seal, rows, 5), context, folder).omega_N
        except PowerCut:
            continue
    return omega


SEAL = Seal(gamma=0.0, schedule="linear", increment=0.2, lr=1 / 3, model_lr=3e-3, epochs=3, batch_size=6, safe_batch_size=4)
KINDS = [
    {},
    {"weights": "sigmoid"},
    {"optimizer": "adamw_released"},
    {"algorithm": 1},
    {"algorithm": 1, "optimizer": "adamw_released", "weights": "sigmoid"},
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_ranking_cut_before_any_step_ends_bit_the_same(kind, tmp_path):
    seal = replace(SEAL, **kind)
    straight = ranked(seal, tmp_path / "straight")
    for cut in range(3 * 3):
        assert torch.equal(ranked(seal, tmp_path / str(cut), cut), straight), cut


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_deepspeed_resumes_to_the_bit_too(stage, one_process_group, tmp_path):
    settings = replace(SETTINGS, zero_stage=stage)
    straight = trained(tiny.llama, tmp_path / "straight", None, DeepSpeedEngine, settings)
    assert torch.equal(trained(tiny.llama, tmp_path / "cut", 4, DeepSpeedEngine, settings), straight)


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_both_models_of_algorithm_1_resume_on_deepspeed(stage, one_process_group, tmp_path):
    seal, training = replace(SEAL, algorithm=1), TrainingSettings(zero_stage=stage)
    straight = ranked(seal, tmp_path / "straight", None, DeepSpeedEngine, training)
    assert torch.equal(ranked(seal, tmp_path / "cut", 4, DeepSpeedEngine, training), straight)
    assert straight.tolist() == pytest.approx(ranked(seal, tmp_path / "plain").tolist(), rel=0, abs=SCORES)
