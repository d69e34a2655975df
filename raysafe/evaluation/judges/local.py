"""Local models that judges read from: loaded once a process, on its device, and let go when the answers are judged."""

import gc
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from raysafe.data.chat import ChatFormat, load_tokenizer
from raysafe.data.records import Conversation, Message
from raysafe.models.generation import greedy
from raysafe.models.loading import device_here, freeze, load_classifier, load_model

Kind = Literal["tokens", "labels"]
Side = Literal["left", "right"]
Dtype = Literal["float32", "bf16"]
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Loaded:
    """A model on its device, and its tokenizer with or without a chat template."""

    model: Any
    chat: ChatFormat

    @property
    def pad(self) -> int:
        """What fills rows up; it is masked."""
        known = (self.chat.tokenizer.pad_token_id, self.model.config.pad_token_id, self.chat.tokenizer.eos_token_id)
        return next((token for token in known if isinstance(token, int)), 0)

    @property
    def positions(self) -> int | None:
        """The longest sequence that the model takes, where it says so."""
        found = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return found if isinstance(found, int) and found > 0 else None


_held: dict[tuple[str, Kind, Dtype], Loaded] = {}


def held(path: str, kind: Kind, dtype: Dtype) -> Loaded:
    """The model of a folder on this process's device; the same one until it is let go (`holding`)."""
    if (path, kind, dtype) not in _held:
        load = load_model if kind == "tokens" else load_classifier
        model = freeze(load(path, DTYPES[dtype])).to(device_here())
        _held[path, kind, dtype] = Loaded(model, ChatFormat(load_tokenizer(path)))
    return _held[path, kind, dtype]


@contextmanager
def holding() -> Iterator[None]:
    """Inside, models are loaded once; at the end they are let go, with their memory."""
    try:
        yield
    finally:
        if _held:  # to collect takes half a second in a process with all libraries, and most judges hold no model
            _held.clear()
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


@dataclass(frozen=True)
class Rows:
    """Rows of one batch, filled up on one side: ids and mask are B x T, `last` is the place of each row's last token."""

    ids_BT: Tensor
    mask_BT: Tensor
    last_B: Tensor

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], side: Side, pad: int) -> "Rows":
        """Rows of one token or more, on this process's device."""
        longest = max(map(len, rows))
        starts = [longest - len(row) if side == "left" else 0 for row in rows]
        placed = list(zip(rows, starts, strict=True))
        ids = [[pad] * start + list(row) + [pad] * (longest - start - len(row)) for row, start in placed]
        mask = [[int(start <= place < start + len(row)) for place in range(longest)] for row, start in placed]
        last = [start + len(row) - 1 for row, start in placed]
        return cls(*(torch.tensor(values, device=device_here()) for values in (ids, mask, last)))

    @property
    def positions_BT(self) -> Tensor:
        """Each row's own, from 0: a model whose positions are absolute would else see a row move with its company."""
        return (self.mask_BT.cumsum(dim=-1) - 1).clamp(min=0)


@torch.no_grad()
def next_logits(loaded: Loaded, rows: Sequence[Sequence[int]], side: Side) -> Tensor:
    """Logits (B x V, float32) of what follows each row. Only the places that are asked for go through the head, where the model
    lets them: a head over all of a long row takes more memory than the model."""
    batch, takes = Rows.of(rows, side, loaded.pad), inspect.signature(loaded.model.forward).parameters
    options: dict[str, Any] = {"position_ids": batch.positions_BT} if "position_ids" in takes else {}
    places, where_B = batch.last_B.unique(return_inverse=True)
    if "logits_to_keep" in takes:
        options["logits_to_keep"] = places
    logits_BTV = loaded.model(input_ids=batch.ids_BT, attention_mask=batch.mask_BT, use_cache=False, **options).logits
    picked_B = where_B if "logits_to_keep" in takes else batch.last_B
    return logits_BTV[torch.arange(len(rows), device=picked_B.device), picked_B].float()


@torch.no_grad()
def class_logits(loaded: Loaded, rows: Sequence[Sequence[int]]) -> Tensor:
    """Logits (B x classes, float32) of a sequence classifier, rows filled up on the right: one that reads its class off the first
    token finds it there, one that reads it off the last finds that by what is not padding."""
    batch, model = Rows.of(rows, "right", loaded.pad), loaded.model
    if model.config.pad_token_id is None:
        model.config.pad_token_id = loaded.pad
    return model(input_ids=batch.ids_BT, attention_mask=batch.mask_BT).logits.float()


def by_length(rows: Mapping[int, Sequence[int]], size: int) -> Iterator[list[int]]:
    """Keys of rows that are read together, at most `size`, shortest first."""
    order = sorted(rows, key=lambda place: len(rows[place]))
    return (order[start : start + size] for start in range(0, len(order), size))


@dataclass(frozen=True)
class LocalCompleter:
    """A local chat model as one that completes texts (`Completer`), greedily, in batches of like length."""

    path: str
    dtype: Dtype
    max_new_tokens: int
    batch_size: int

    def complete(self, prompts: Sequence[str | Conversation]) -> list[str]:
        """A reply to every prompt, in order; one that leaves no room for a reply in the model's positions gets an empty one."""
        if not prompts:
            return []
        loaded = held(self.path, "tokens", self.dtype)
        turns = [(Message("user", prompt),) if isinstance(prompt, str) else prompt for prompt in prompts]
        rows = dict(enumerate(loaded.chat.prompt_ids(turn) for turn in turns))
        room = (loaded.positions or sys.maxsize) - self.max_new_tokens
        said = dict.fromkeys(rows, "")
        for places in by_length({place: ids for place, ids in rows.items() if len(ids) <= room}, self.batch_size):
            asked = [rows[place] for place in places]
            replies = greedy(loaded.model, asked, loaded.pad, loaded.chat.end_ids[-1], self.max_new_tokens)
            said |= {place: loaded.chat.decode(ids) for place, ids in zip(places, replies, strict=True)}
        return [said[place] for place in rows]
