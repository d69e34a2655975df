"""Before the first step log pi_theta - log pi_ref is exactly 0.0 for every row, however either was computed."""

import gc

import pytest
import tiny
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from peft import LoraConfig, get_peft_model
from test_one_trajectory import pairs
from transformers import LlamaConfig, LlamaForCausalLM

from raysafe.config.sections import TrainingSettings
from raysafe.context import Context, local_context
from raysafe.models.frozen import frozen_log_probs, frozen_policy
from raysafe.training.engine import DeepSpeedEngine, PlainEngine, open_engine

ADAPTERS = {"full": None, "lora": ["q_proj", "v_proj"], "lora on the head": ["q_proj", "lm_head"]}
"""The parts that get an adapter; the head with one is computed another way (`CheckpointedHead`)."""


def small_model():
    """Heads of 64, as real ones have: a product of a few hundred operations takes a kernel of its own, with other bits."""
    sizes = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 192, "vocab_size": 40}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(LlamaConfig(**sizes, initializer_range=0.1, pad_token_id=0, eos_token_id=1)).eval()


def rows():
    """Pairs that share their prompts, then rows of 3 to 120 tokens, some with one label only."""
    safe_and_harmful = pairs(4)
    short, long = tiny.token_rows(5, seed=7), tiny.token_rows(12, seed=8, low=20, high=120)
    return [*safe_and_harmful["safe"], *safe_and_harmful["harmful"], *short, *long]


ROWS = rows()


def policy_model(adapter):
    model = small_model()
    if ADAPTERS[adapter] is None:
        return model
    return get_peft_model(model, LoraConfig(r=2, lora_dropout=0.3, target_modules=ADAPTERS[adapter]))


def largest_difference(kind, settings, adapter="full", context=None):
    """Of any label of any row, over batches of 3, 5 and all rows: what a step would be told against what is stored."""
    context = context or local_context()
    stored = frozen_log_probs(frozen_policy(small_model, settings.precision, settings.batching, context), ROWS, context)
    largest = 0.0
    with open_engine(kind, lambda: policy_model(adapter), settings, torch.device("cpu")) as engine:
        for size in (3, 5, len(ROWS)):
            for start in range(0, len(ROWS), size):
                own_L = engine.module(ROWS[start : start + size], None, lambda log_probs_L: log_probs_L.sum())[1]
                largest = max(largest, float((own_L - torch.cat(stored[start : start + size])).abs().max()))
    return largest


@pytest.mark.parametrize("checkpointing", [False, True], ids=["straight", "checkpointed"])
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("batching", ["packed", "padded"])
def test_policy_and_reference_agree_to_the_bit(batching, adapter, checkpointing):
    settings = TrainingSettings(batching=batching, gradient_checkpointing=checkpointing)
    assert largest_difference(PlainEngine, settings, adapter) == 0.0


@pytest.mark.filterwarnings("default")  # DeepSpeed imports what torch deprecates
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("batching", ["packed", "padded"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("zero", [0, 1, 2, 3])
def test_they_do_at_every_zero_stage_and_precision(zero, precision, batching, adapter, one_process_group):
    settings = TrainingSettings(batching=batching, precision=precision, zero_stage=zero)
    assert largest_difference(DeepSpeedEngine, settings, adapter) == 0.0


def test_a_reference_in_another_precision_would_not(one_process_group):
    stored = frozen_log_probs(frozen_policy(small_model, "float32", "auto", local_context()), ROWS, local_context())
    coarse = frozen_log_probs(frozen_policy(small_model, "bf16", "auto", local_context()), ROWS, local_context())
    assert max((a - b).abs().max() for a, b in zip(stored, coarse, strict=True)) > 1e-3


def on_two(rank, store, found):
    """One of two workers."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(store, 2), rank=rank, world_size=2)
    context = Context(lambda step, row: False, torch.device("cpu"), rank, 2)
    for zero in (0, 1, 2, 3):
        for precision in ("float32", "bf16"):
            gc.freeze()  # an engine that is closed collects, and needn't look at all libraries each time
            settings = TrainingSettings(precision=precision, zero_stage=zero)
            found[rank, zero, precision] = largest_difference(DeepSpeedEngine, settings, context=context)
    dist.destroy_process_group()


def test_two_workers_agree_with_what_two_workers_stored(tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    with mp.get_context("spawn").Manager() as manager:
        found = manager.dict()
        mp.spawn(on_two, (str(tmp_path / "store"), found), nprocs=2)
        assert len(found) == 16 and set(found.values()) == {0.0}
