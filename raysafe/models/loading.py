"""Hugging Face model folders in and out: safetensors only, no code from others."""

import warnings
from pathlib import Path
from typing import Any

import torch

from raysafe.config.sections import Lora
from raysafe.errors import DataError
from raysafe.models.fit import FOREIGN, first_lines, not_loadable, out_of_memory, quiet, refuse_unfit
from raysafe.models.folders import HUB, adapted_model, read_object


def load_model(path: str, dtype: torch.dtype = torch.float32, lora: Lora | None = None, seed: int = 0) -> Any:
    """The causal model of a folder, an adapter folder on its base, or a hub name; with a fresh adapter if `lora` is set,
    whose start the seed decides.

    Returns a transformers (or peft) model in training mode on the CPU. Raises DataError if it can't be loaded.
    """
    folder = Path(path.removeprefix(HUB))
    base = adapted_model(folder)
    if base is not None:
        return _load_adapter(folder, base, dtype)
    model = _load_base(path, dtype)
    return _add_adapter(model, lora, seed) if lora else model


def _load_base(path: str, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForCausalLM

    folder = path.removeprefix(HUB)
    try:
        with quiet():
            loaded: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **FOREIGN)
    except Exception as error:  # transformers raises whatever its parts raise
        if out_of_memory(error):
            raise
        config = Path(folder) / "config.json"
        raise DataError(not_loadable(path, read_object(config) if config.exists() else {}, error)) from error
    model, info = loaded
    refuse_unfit(path, info)
    model.config.use_cache = False
    return model


def load_classifier(path: str, dtype: torch.dtype = torch.float32) -> Any:
    """The sequence classifier of a folder, on the CPU. Raises DataError if it can't be loaded or its weights don't fit it."""
    from transformers import AutoModelForSequenceClassification

    try:
        with quiet():
            loaded: Any = AutoModelForSequenceClassification.from_pretrained(path, dtype=dtype, **FOREIGN)
    except Exception as error:  # transformers raises whatever its parts raise
        if out_of_memory(error):
            raise
        raise DataError(f"{path}: can't be loaded as a sequence classifier: {first_lines(error)}") from error
    model, info = loaded
    refuse_unfit(path, info)
    return model


def _add_adapter(model: Any, lora: Lora, seed: int) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        task_type="CAUSAL_LM",
    )
    try:
        # every worker of a run starts from the same adapter, whatever else drew random numbers
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return get_peft_model(model, config)
    except ValueError as error:
        raise DataError(f"`model.lora.target_modules`: {list(lora.target_modules)} don't fit the model: {error}.") from error


def _load_adapter(folder: Path, base: str, dtype: torch.dtype) -> Any:
    from peft import PeftModel

    model = _load_base(base, dtype)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*missing adapter keys")
            return PeftModel.from_pretrained(model, str(folder), is_trainable=True)
    except Exception as error:  # peft raises whatever its parts raise
        if out_of_memory(error):
            raise
        raise DataError(f"`model.path`: {folder}: its adapters can't be put on {base}: {first_lines(error)}") from error


def merged(model: Any) -> Any:
    """A model with adapters as one without: their weights added to its own. The model that is given is used up."""
    return model.merge_and_unload()


def device_here() -> torch.device:
    """Where this process computes when nobody says it: its GPU, where it has one."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def freeze(model: Any) -> Any:
    """The model in evaluation mode, without gradients."""
    return model.eval().requires_grad_(False)
