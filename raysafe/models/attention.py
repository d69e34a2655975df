"""Attention over a packed line: every segment sees itself and what it continues, and nothing else.

Registered with transformers under `NAME`, so that any model that looks its attention up there can run a packed line. One call
of torch's scaled-dot-product kernel a segment: cost grows with the sum of squared row lengths, never with the line's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import dropout as drop
from torch.nn.functional import scaled_dot_product_attention

from raysafe.data.packing import Segment

NAME = "raysafe_packed"


def register() -> None:
    """Make `NAME` known to transformers; without a mask function of that name it builds no mask, so none is ever quadratic."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, packed_attention)


def packed_attention(
    module: Any,
    query_1HSW: Tensor,
    key_1GSW: Tensor,
    value_1GSW: Tensor,
    attention_mask: None,
    **asked: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: S tokens of the line, H query heads over G key heads of width W. Returns
    shape 1SHW, and no weights. Of what models ask for, what is not looked at here shows in `Policy`'s comparison, and such a
    model stays padded."""
    kernel = Kernel(asked.get("scaling"), asked.get("dropout", 0.0), asked.get("sliding_window"), asked.get("softcap"))
    segments: Sequence[Segment] = asked["segments"]
    lengths = [segment.stop - segment.start for segment in segments]
    # split, not slices: the gradient of a slice is a whole line of zeros
    parts = [dict(zip(starts(segments), part.split(lengths, dim=2), strict=True)) for part in (query_1HSW, key_1GSW, value_1GSW)]
    outputs = [kernel(*(_seen(part, segment) for part in parts))[:, :, segment.shared :] for segment in segments]
    return torch.cat(outputs, dim=2).transpose(1, 2), None


def starts(segments: Sequence[Segment]) -> list[int]:
    """Where each begins in the line."""
    return [segment.start for segment in segments]


def _seen(part: Mapping[int, Tensor], segment: Segment) -> Tensor:
    """What a segment sees, itself included. A shared beginning asks again, and its answer is thrown away: that keeps the square
    causal form, for which every kernel is fastest."""
    own = part[segment.start]
    return own if not segment.shared else torch.cat([part[segment.shared_start][:, :, : segment.shared], own], dim=2)


@dataclass(frozen=True)
class Kernel:
    """Causal attention of one segment, with what models ask of it."""

    scaling: float | None
    dropout: float
    window: int | None
    softcap: float | None

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Shapes 1HSW, 1GSW, 1GSW to 1HSW."""
        if self.softcap is not None:
            return self._capped(query, key, value, self.softcap)
        grouped = query.shape[1] != key.shape[1]
        windowed = self.window is not None and self.window < query.shape[2]
        mask = self._allowed(query) if windowed else None
        return scaled_dot_product_attention(
            query, key, value, mask, self.dropout, is_causal=not windowed, scale=self.scaling, enable_gqa=grouped
        )

    def _capped(self, query: Tensor, key: Tensor, value: Tensor, softcap: float) -> Tensor:
        """Gemma 2's: no kernel of torch's bounds its scores, so they are there whole, for one segment at a time."""
        repeats = query.shape[1] // key.shape[1]
        key, value = (part.repeat_interleave(repeats, dim=1) if repeats > 1 else part for part in (key, value))
        scores = query @ key.transpose(2, 3) * (self.scaling or query.shape[-1] ** -0.5)
        scores = softcap * torch.tanh(scores / softcap)
        scores = scores.masked_fill(~self._allowed(query), float("-inf"))
        weights = torch.softmax(scores, dim=-1, dtype=torch.promote_types(query.dtype, torch.float32)).to(query.dtype)
        return drop(weights, self.dropout, training=self.dropout > 0) @ value

    def _allowed(self, query: Tensor) -> Tensor:
        """True where a query may look: at itself and, within the window, at the tokens before it."""
        length = query.shape[2]
        causal = torch.ones(length, length, dtype=torch.bool, device=query.device).tril()
        return causal if self.window is None else causal.triu(1 - self.window)
