"""A GGUF file as a Hugging Face folder: weights in float32 safetensors, and the tokenizer with its chat template.

transformers reads and dequantises it (`gguf` parses the file); nothing in it is run. Quantised weights become the float32 values
that they stand for, so that a conversion loses nothing and is the same everywhere.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import torch

from raysafe.errors import DataError
from raysafe.models.fit import FOREIGN, first_lines, out_of_memory, quiet, refuse_unfit

GGUF = ".gguf"
"""How a path ends that is converted."""
MAGIC = b"GGUF"
_OF_THE_FILE = ("quantization_config", "_model_name_or_path", "local_files_only")
"""What transformers leaves in a converted configuration that speaks of the file and how it was read."""


def check_gguf(path: str, key: str = "model.path") -> None:
    """Raise DataError unless `path` is a file that begins as a GGUF does."""
    file = Path(path)
    if not file.is_file():
        raise DataError(f"`{key}`: {path}: no such file.")
    with file.open("rb") as opened:
        start = opened.read(len(MAGIC))
    if start != MAGIC:
        raise DataError(f"`{key}`: {path}: it doesn't begin with {MAGIC.decode()}, so it is no GGUF file.")


def convert(gguf: Path, folder: Path, key: str = "model.path") -> None:
    """Write the model of a GGUF file as a Hugging Face folder. Raises DataError, naming it, if transformers can't read it or if
    its tensors are not all that the model takes."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    try:
        with _unheard():
            tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, **where, trust_remote_code=False)
            loaded: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, **where, dtype=torch.float32, **FOREIGN)
    except Exception as error:  # transformers raises whatever its parts raise
        if out_of_memory(error):
            raise
        raise DataError(f"`{key}`: {gguf}: can't be converted: {first_lines(error)}") from error
    model, info = loaded
    refuse_unfit(str(gguf), info)
    _as_if_plain(model)
    with _unheard():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _as_if_plain(model: Any) -> None:
    """transformers takes what it has dequantised for quantised still, and would not save it."""
    model.is_quantized = False
    model.hf_quantizer = None
    for name in _OF_THE_FILE:
        if hasattr(model.config, name):
            delattr(model.config, name)


@contextmanager
def _unheard() -> Iterator[None]:
    """No progress bars: transformers' own, and one that can't be switched off. Saving imports DeepSpeed, which without a GPU
    would say on standard output that it has found none, unless it is told."""
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    with quiet(), redirect_stderr(io.StringIO()):
        yield
