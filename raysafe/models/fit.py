"""Whether a model folder's weights fit its configuration, told from their headers: no weight is read.

transformers initialises what a folder lacks at random, with no more than a line in the log; here that is refused.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from raysafe.errors import DataError
from raysafe.models.folders import ADAPTER, HUB, adapted_model, folder_fingerprint, read_object

FOREIGN: dict[str, Any] = {
    "use_safetensors": True,
    "trust_remote_code": False,
    "ignore_mismatched_sizes": True,
    "output_loading_info": True,
}
"""How folders of others are loaded: no pickles, no code, never a question; what doesn't fit is told, not raised."""
_COMPUTED = ".inv_freq"
"""Ending of tensors in old folders that the model computes by itself."""


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model without its weights. positions: the longest sequence it takes; vocabulary: rows of its embedding;
    None where there is no such limit. modules: every linear layer with its output and input width."""

    positions: int | None
    vocabulary: int | None
    modules: dict[str, tuple[int, int]]

    def without_layer(self, names: Sequence[str]) -> list[str]:
        """Those of an adapter's target names that no linear layer has: each is the end of a layer's dotted name."""
        return [name for name in names if not any(f".{module}".endswith(f".{name}") for module in self.modules)]


def model_facts(path: str) -> ModelFacts | None:
    """Facts of a model folder, or of an adapter folder's base; None for a hub name, which can't be looked at ahead.

    Raises DataError if configuration and weights don't belong together, naming the keys.
    """
    return None if path.startswith(HUB) else _facts(path, folder_fingerprint(Path(path)))


@lru_cache(maxsize=16)
def _facts(path: str, content: str) -> ModelFacts | None:
    folder = Path(path)
    base = adapted_model(folder)
    if base is None:
        return _whole_model(folder)
    if not Path(base).is_dir():
        return None
    facts = model_facts(base)
    if facts is not None:
        _check_adapter(folder, facts)
    return facts


def _whole_model(folder: Path) -> ModelFacts:
    config = read_object(folder / "config.json")
    for weights in sorted(folder.glob("*.safetensors")):
        tensor_shapes(weights)
    from transformers import AutoModelForCausalLM  # seconds: only for a model that passed what is quick

    try:
        with quiet():
            loaded: Any = AutoModelForCausalLM.from_pretrained(folder, device_map="meta", **FOREIGN, local_files_only=True)
    except Exception as error:  # transformers raises whatever its parts raise
        raise DataError(not_loadable(str(folder), config, error)) from error
    model, info = loaded
    refuse_unfit(str(folder), info)
    embedding = getattr(model.get_input_embeddings(), "weight", None)
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return ModelFacts(
        positions if isinstance(positions, int) and positions > 0 else None,
        None if embedding is None else embedding.shape[0],
        {name: widths for name, module in model.named_modules() if (widths := _widths(module))},
    )


def _widths(module: Any) -> tuple[int, int] | None:
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    if not isinstance(module, Linear | Conv1D):
        return None
    first, second = module.weight.shape
    return (first, second) if isinstance(module, Linear) else (second, first)


def refuse_unfit(path: str, info: Any) -> None:
    """Raise DataError, with the keys, if transformers' `output_loading_info` says that weights and configuration don't fit."""
    unexpected = [key for key in info["unexpected_keys"] if not key.endswith(_COMPUTED)]
    misshapen = [f"{key} is {tuple(got)} where {tuple(takes)} is needed" for key, got, takes in info["mismatched_keys"]]
    faults = {"missing": sorted(info["missing_keys"]), "unexpected": sorted(unexpected), "misshapen": sorted(misshapen)}
    parts = [f"{len(keys)} {kind} ({_some(keys)})" for kind, keys in faults.items() if keys]
    if parts:
        raise DataError(
            f"`model.path`: {path}: its weights don't fit its config.json: {', '.join(parts)}. What is missing would be drawn at "
            "random; take the config.json that belongs to these weights, and all of their .safetensors files."
        )


def not_loadable(path: str, config: dict[str, Any], error: Exception) -> str:
    """What to say of a folder that transformers can't build a model from."""
    if "auto_map" in config:
        return (
            f"`model.path`: {path}: its config.json asks for code of its own (`auto_map`), and code from model folders is never "
            "run. Take a model that transformers has built in."
        )
    return f"`model.path`: {path}: can't be loaded as a causal language model: {first_lines(error)}"


def out_of_memory(error: Exception) -> bool:
    """Whether a fault is the machine's and not the folder's: another try, elsewhere or later, may succeed."""
    return isinstance(error, MemoryError) or "allocate memory" in str(error) or "out of memory" in str(error)


def first_lines(error: Exception) -> str:
    """The beginning of a message that may be pages long, in one line that ends with a period."""
    text = " ".join(str(error).split())
    return text[:300].rstrip(". ") + ("…" if len(text) > 300 else "") + "."


def _some(keys: list[str], count: int = 4) -> str:
    return ", ".join(keys[:count]) + (", …" if len(keys) > count else "")


@contextmanager
def quiet() -> Iterator[None]:
    """transformers without progress bars and reports, which say in tables what an error says in a line."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor in a safetensors file, by its header. Raises DataError if the file is broken or cut off."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            entries: Any = json.loads(file.read(length)) if length <= path.stat().st_size else None
        shapes = {name: entry for name, entry in entries.items() if name != "__metadata__"}
        stop = max((entry["data_offsets"][1] for entry in shapes.values()), default=0)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, struct.error) as error:
        raise DataError(f"{path}: no safetensors file, or a broken one ({first_lines(error)})") from error
    if path.stat().st_size != 8 + length + stop:
        size = path.stat().st_size
        raise DataError(f"{path}: got {size} bytes, but its header takes {8 + length + stop}: the file is cut off or broken.")
    return {name: tuple(entry["shape"]) for name, entry in shapes.items()}


def _check_adapter(folder: Path, facts: ModelFacts) -> None:
    """LoRA: A (r × input) and B (output × r) for every layer that the adapter's configuration names, and for no other."""
    config = read_object(folder / ADAPTER)
    if config.get("peft_type") != "LORA":
        return
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for weights in sorted(folder.glob("*.safetensors")):
        for key, shape in tensor_shapes(weights).items():
            layer, _, half = key.removeprefix("base_model.model.").rpartition(".lora_")
            if half in ("A.weight", "B.weight"):
                found.setdefault(layer, {})[half[0]] = shape
    targets = config.get("target_modules")
    if not isinstance(targets, list) or config.get("layers_to_transform") or config.get("exclude_modules"):
        targets = []
    named = [layer for layer in facts.modules if any(f".{layer}".endswith(f".{name}") for name in targets)]
    wrong = [layer for layer in {*found, *named} if not _fits(facts.modules.get(layer), found.get(layer, {}), config)]
    if wrong:
        raise DataError(
            f"`model.path`: {folder}: its adapters don't fit the model {adapted_model(folder)}: {len(wrong)} missing, misshapen "
            f"or for a layer that it hasn't ({_some(sorted(wrong))})."
        )


def _fits(widths: tuple[int, int] | None, halves: dict[str, tuple[int, ...]], config: dict[str, Any]) -> bool:
    if widths is None or set(halves) != {"A", "B"}:
        return False
    rank = halves["A"][0] if config.get("rank_pattern") else config.get("r")
    return halves == {"A": (rank, widths[1]), "B": (widths[0], rank)}
