"""Whether a model computes the same on packed rows as on padded ones: asked of a small twin of it, once a configuration.

The twin has the model's class, widths and settings, random weights, and its first layers, as many as show every kind of layer it
has (sliding and full attention, experts and none). Its windows are shortened, so that rows of `LONGEST` tokens look beyond them;
a window that the configuration doesn't name, and kinds that show only beyond `MOST_LAYERS` layers, can't be vouched for.
"""

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from raysafe.data.tokens import TokenRow

LONGEST, WINDOW, VOCABULARY, MOST_LAYERS = 79, 24, 256, 12
TOLERANCE = 1e-3
"""Of a log-probability in float32; a wrong mask, position or cap shows in tenths."""

LogProbs = Callable[[Any, Sequence[TokenRow]], Tensor]
"""A causal model and rows to their label log-probabilities, packed or padded."""


def agrees(causal: Any, packed: LogProbs, padded: LogProbs) -> bool:
    """Whether the model's twin has the same log-probabilities both ways, on the model's device; never an exception."""
    layers = _first_of_every_kind(causal)
    if layers is None:
        return False
    settings = json.dumps(causal.config.to_dict(), sort_keys=True, default=str)
    twin = _Twin(type(causal), type(causal.config), settings, layers, next(causal.parameters()).device.type)
    return _agrees(twin, packed, padded)


@dataclass(frozen=True)
class _Twin:
    """What a twin is built by: the classes of model and configuration, the whole configuration, its layers and device."""

    model: Callable[[Any], Any]
    config: Any
    settings: str
    layers: int
    device: str

    def build(self) -> Any:
        """With weights that let every part have its say: scores and logits of a spread of about 1 to 4."""
        torch.manual_seed(0)
        with torch.device(self.device):
            model = self.model(self.config.from_dict(_small(json.loads(self.settings), self.layers))).float().eval()
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=2 * parameter.shape[-1] ** -0.5)
        return model


@lru_cache(maxsize=64)
def _agrees(twin: _Twin, packed: LogProbs, padded: LogProbs) -> bool:
    rows = _rows()
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(), torch.no_grad():
            warnings.simplefilter("ignore")
            model = twin.build()
            return torch.allclose(packed(model, rows), padded(model, rows), rtol=TOLERANCE, atol=TOLERANCE)
    except Exception:  # models raise whatever their parts raise, and one that can't be tried is not vouched for
        return False


def _small(settings: dict[str, Any], layers: int) -> dict[str, Any]:
    """The twin's configuration; of a list with an entry a layer, the first entries."""
    count = settings.get("num_hidden_layers") or settings.get("n_layer")
    small: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict) and name in ("text_config", "llm_config"):
            small[name] = _small(value, layers)
        elif isinstance(value, list) and len(value) == count:
            small[name] = value[:layers]
        elif type(value) is int and _is_window(name):
            small[name] = min(value, WINDOW)
        else:
            small[name] = value
    small |= {name: layers for name in ("num_hidden_layers", "n_layer") if name in settings}
    small |= {name: VOCABULARY for name in ("vocab_size",) if name in settings}
    return small | {name: None for name in settings if name.endswith("token_id")} | {"quantization_config": None}


def _is_window(name: str) -> bool:
    """Whether a setting says how far attention looks, and not which layers do."""
    return ("window" in name and "layer" not in name) or name in ("attention_chunk_size", "local_attention")


def _first_of_every_kind(causal: Any) -> int | None:
    """How many of the first layers show every kind; None if they are too many, or not to be found."""
    config = causal.config.get_text_config()
    count = config.num_hidden_layers
    lists = [m for m in causal.get_decoder().modules() if isinstance(m, torch.nn.ModuleList) and len(m) == count]
    if not lists:
        return None
    by_layer = [value for value in config.to_dict().values() if isinstance(value, list) and len(value) == count]
    kinds = [(_kind(layer), str([value[place] for value in by_layer])) for place, layer in enumerate(lists[0])]
    needed = max(kinds.index(kind) for kind in set(kinds)) + 1
    return needed if needed <= MOST_LAYERS else None


def _kind(layer: Any) -> frozenset[tuple[str, str, str]]:
    """What a layer is made of: its parts, their classes and their plain settings, without its number."""
    return frozenset(
        (name, type(part).__name__, json.dumps({k: v for k, v in vars(part).items() if _is_setting(k, v)}, sort_keys=True))
        for name, part in layer.named_modules()
    )


def _is_setting(name: str, value: Any) -> bool:
    return isinstance(value, str | int | float | bool | None) and not any(
        part in name for part in ("idx", "layer_id", "training")
    )


def _rows() -> list[TokenRow]:
    """Two pairs that share their prompts, one of them longer than the window, and rows of other lengths."""
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(0, VOCABULARY, (400,), generator=draw).tolist()
    short, long = tuple(ids[:10]), tuple(ids[10:58])
    return [
        TokenRow(0, (*short, *ids[60:67]), 10),
        TokenRow(0, (*short, *ids[70:81]), 10),
        TokenRow(1, (*long, *ids[90:120]), 48),
        TokenRow(1, (*long, *ids[120:151]), 48),
        TokenRow(2, tuple(ids[160 : 160 + LONGEST]), 3),
        TokenRow(3, tuple(ids[250:282]), 3),
    ]
