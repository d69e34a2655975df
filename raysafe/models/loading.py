"""Hugging Face model folders in and out: safetensors only, no code from others."""

import json
from pathlib import Path
from typing import Any

import torch

from raysafe.config.sections import Lora
from raysafe.errors import DataError

HUB = "hf://"


def check_model_folder(path: str) -> None:
    """Raise DataError unless `path` is a model or adapter folder with safetensors (hub names can't be checked ahead)."""
    if path.startswith(HUB):
        return
    folder = Path(path)
    if not folder.is_dir():
        raise DataError(
            f"`model.path`: {path}: no such folder. It takes `sandbox`, a Hugging Face model folder, or hf://owner/name."
        )
    if not (folder / "config.json").exists() and not (folder / "adapter_config.json").exists():
        raise DataError(f"`model.path`: {path}: holds no config.json, so it is no Hugging Face model folder.")
    if not any(folder.glob("*.safetensors")):
        raise DataError(f"`model.path`: {path}: holds no .safetensors weights; pickled weights are not loaded.")


def load_model(path: str, dtype: torch.dtype = torch.float32, lora: Lora | None = None) -> Any:
    """The causal model of a folder, an adapter folder on its base, or a hub name; with a fresh adapter if `lora` is set.

    Returns a transformers (or peft) model in training mode on the CPU. Raises DataError if it can't be loaded.
    """
    folder = Path(path.removeprefix(HUB))
    adapter = folder / "adapter_config.json"
    if adapter.exists():
        return _load_adapter(folder, json.loads(adapter.read_text()), dtype)
    model = _load_base(path, dtype)
    return _add_adapter(model, lora) if lora else model


def _load_base(path: str, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(path.removeprefix(HUB), dtype=dtype, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise DataError(f"`model.path`: {path}: can't be loaded as a causal language model: {error}.") from error
    model.config.use_cache = False
    return model


def _add_adapter(model: Any, lora: Lora) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        task_type="CAUSAL_LM",
    )
    try:
        # seeded, so that every worker and every run starts from the same adapter, whatever else drew random numbers
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return get_peft_model(model, config)
    except ValueError as error:
        raise DataError(f"`model.lora.target_modules`: {list(lora.target_modules)} don't fit the model: {error}.") from error


def _load_adapter(folder: Path, config: dict[str, Any], dtype: torch.dtype) -> Any:
    from peft import PeftModel

    base = _load_base(config["base_model_name_or_path"], dtype)
    return PeftModel.from_pretrained(base, str(folder), is_trainable=True)


def freeze(model: Any) -> Any:
    """The model in evaluation mode, without gradients."""
    return model.eval().requires_grad_(False)
