"""Trained parameters to a Hugging Face folder, whatever the ZeRO stage."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from raysafe.models.loading import freeze


def plain_model(load: Callable[[], Any], state: Mapping[str, torch.Tensor]) -> Any:
    """A frozen copy of what `load` gives with the trained parameters of `Engine.full_state` in it."""
    model = freeze(load())
    update(model, state)
    return model


def update(model: Any, state: Mapping[str, torch.Tensor]) -> None:
    """Put trained parameters into a plain model. Raises KeyError for one that it doesn't have."""
    unknown = model.load_state_dict(dict(state), strict=False).unexpected_keys
    if unknown:
        raise KeyError(f"the model lacks the trained parameters {unknown[:3]}")


def save_checkpoint(model: Any, tokenizer: Any, folder: Path) -> None:
    """Model or adapter as safetensors, and the tokenizer with its chat template, as one loadable folder."""
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
