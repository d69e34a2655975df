"""The GPU benchmark runs on a CPU with a tiny shape; what a GPU would add is its kernels and DeepSpeed's masters."""

import argparse

import pytest
import step_gpu
from stepbench.shapes import SHAPES


def options(**changes):
    given = {"device": "cpu", "train": "auto", "batch": 2, "steps": 2, "checkpointing": False, "peak_tflops": 1e-3}
    return argparse.Namespace(**given | changes)


@pytest.mark.parametrize("train", ["full", "lora"])
def test_it_measures_a_step_of_a_tiny_model(train):
    result = step_gpu.measure(SHAPES["tiny"], "wdoor", options(train=train))
    assert result["train"] == train and result["tokens_per_s"] > 0 and result["memory"] > 0


def test_large_models_train_an_adapter():
    assert [step_gpu.trained(SHAPES[name], options()) for name in ("gemma-2-2b", "llama-3-8b")] == ["full", "lora"]


def test_the_large_shapes_have_their_models_sizes():
    assert SHAPES["gemma-2-2b"].parameters == pytest.approx(2.614e9, rel=1e-3)
    assert SHAPES["llama-3-8b"].parameters == pytest.approx(8.030e9, rel=1e-3)
