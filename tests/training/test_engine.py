"""What DeepSpeed's engines do to parameters, stage by stage, in one process."""

import pytest
import tiny
import torch

from raysafe.settings import TrainingSettings
from raysafe.training.engine import DeepSpeedEngine, PlainEngine


def moved(make_engine, **settings):
    """How far the second layer's weights went in one step of lr 0.01 along a constant gradient."""
    engine = make_engine(tiny.llama(), TrainingSettings(lr=1e-2, **settings), torch.device("cpu"))
    before = engine.full_state()["model.layers.1.mlp.up_proj.weight"]
    weight = engine.policy.model.model.layers[1].mlp.up_proj.weight
    engine.backward((weight * torch.ones_like(weight)).sum() if settings.get("zero_stage", 0) < 3 else whole_loss(engine))
    after = engine.full_state()["model.layers.1.mlp.up_proj.weight"]
    engine.close()
    return (after - before).abs()


def whole_loss(engine):
    """At stage 3 a weight is whole only within the forward pass."""
    return engine.module(tiny.token_rows(4), None, lambda log_probs_L: -log_probs_L.sum())[0]


def test_adams_first_step_is_the_learning_rate():
    """m / (1 - .9) over sqrt(v / (1 - .999)) is the gradient's sign."""
    torch.testing.assert_close(moved(PlainEngine), torch.full((32, 16), 1e-2), rtol=1e-4, atol=0)


@pytest.mark.filterwarnings("default")  # DeepSpeed imports what torch deprecates
@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_no_stage_and_no_precision_has_made_a_step_before_the_first(stage, precision, one_process_group):
    """In bf16 the weights that come out are rounded: by the mean the step shows. A step before would make it .74 of that."""
    step = moved(DeepSpeedEngine, zero_stage=stage, precision=precision)
    assert step.mean().item() == pytest.approx(1e-2, rel=0.01 if precision == "float32" else 0.06)
