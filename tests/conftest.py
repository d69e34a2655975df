"""Shared fixtures; warnings are errors in the tests of the library itself."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

HERE = Path(__file__).parent
BETWEEN_LIBRARIES = "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
"""peft 0.21 asks transformers 5.23 for an attribute by its old name."""
STRICT = {"objectives", "selection", "data", "evaluation", "models", "config", "training"}


def pytest_collection_modifyitems(items):
    for item in items:
        inside = item.path.relative_to(HERE).parts if item.path.is_relative_to(HERE) else ()
        if inside and (inside[0] in STRICT or inside[0].startswith("test_house")):
            item.add_marker(pytest.mark.filterwarnings("error", BETWEEN_LIBRARIES), append=False)


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _denormals():
    """Training turns them off in its process; hypothesis needs them on."""
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A tiny random Llama with a byte-level tokenizer and a Llama-3-style template, as a Hugging Face folder."""
    import tiny

    folder = tmp_path_factory.mktemp("model")
    tokenizer = tiny.byte_tokenizer(tiny.LLAMA3)
    tiny.llama(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
