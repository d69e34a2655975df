"""Real Ray, one session for all tests here; a random model that speaks the sandbox's words, and one storage folder."""

import pytest
import ray
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from raysafe.cluster.groups import connect
from raysafe.sandbox.tokenizer import build_tokenizer


@pytest.fixture(scope="session")
def random_model(tmp_path_factory):
    """A folder with an untrained model of some thousand parameters: enough for everything but phenomena."""
    folder = tmp_path_factory.mktemp("random-model")
    tokenizer = build_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=256, pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def ray_here():
    """Ray on this machine with two CPUs (logical ones where there is one core only)."""
    connect(None, cpus=2)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """Storage that the tests of a file share, so that equal stages are made once."""
    return tmp_path_factory.mktemp("storage")


@pytest.fixture
def no_pictures(monkeypatch):
    """What a sweep draws at its end takes seconds, and is not looked at here."""
    monkeypatch.setattr("raysafe.report.page.PANELS", ())
    monkeypatch.setattr("raysafe.sweep.record.compared", lambda folder: ({}, None))
