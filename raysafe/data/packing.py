"""Token rows of a batch without padding: one line of tokens, and which part of it may see which.

Two rows that begin alike, as the safe and the harmful answer to one prompt do, share the tokens of their common beginning: it
is there once, and the second row continues from it. S tokens of the line, L labels in it, B rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from raysafe.data.batches import whole_blocks
from raysafe.data.tokens import TokenRow

SHARED_MIN = 8
"""Shorter common beginnings are not worth the second look at their keys."""


@dataclass(frozen=True)
class Segment:
    """Tokens start..stop of the line, which see each other causally and, before them, all of shared_start..shared_stop."""

    start: int
    stop: int
    shared_start: int = 0
    shared_stop: int = 0

    @property
    def shared(self) -> int:
        """Tokens of the beginning that it shares; `shared_start` is the start of the row that has it."""
        return self.shared_stop - self.shared_start


@dataclass(frozen=True)
class Packed:
    """input_ids_1S, position_ids_1S: int64; positions count from each row's own beginning.

    sources_L: int64, the place in the line whose hidden state predicts a label; labels_L: int64, the label's token. Labels stand
    row by row, in the order of the rows.
    """

    input_ids_1S: Tensor
    position_ids_1S: Tensor
    segments: tuple[Segment, ...]
    sources_L: Tensor
    labels_L: Tensor


def filled(packed: Packed) -> Packed:
    """The line in whole blocks, filled up by a segment that predicts nothing and that nobody sees."""
    tokens = packed.input_ids_1S.shape[1]
    missing = whole_blocks(tokens) - tokens
    if not missing:
        return packed
    ids_1S, positions_1S = (pad(line_1S, (0, missing)) for line_1S in (packed.input_ids_1S, packed.position_ids_1S))
    segments = (*packed.segments, Segment(tokens, tokens + missing))
    return replace(packed, input_ids_1S=ids_1S, position_ids_1S=positions_1S, segments=segments)


def pack(rows: Sequence[TokenRow], device: torch.device | str = "cpu") -> Packed:
    """One line of all rows. A row with the prompt (and prefix) of an earlier one continues from there."""
    ids: list[int] = []
    positions: list[int] = []
    sources: list[int] = []
    labels: list[int] = []
    segments: list[Segment] = []
    openings: dict[tuple[int, ...], int] = {}
    for row in rows:
        opening = row.input_ids[: row.label_start]
        shared, place = 0, 0
        if opening in openings and row.label_start >= SHARED_MIN:
            place, shared = openings[opening], row.label_start
        start = len(ids)
        openings.setdefault(opening, start)
        ids += row.input_ids[shared:]
        positions += range(shared, len(row.input_ids))
        segments.append(Segment(start, len(ids), place, place + shared))
        offset = start - shared  # where the row's token 0 would stand
        sources += [place + shared - 1 if t < shared else offset + t for t in range(row.label_start - 1, len(row.input_ids) - 1)]
        labels += row.input_ids[row.label_start :]
    flat = torch.tensor([ids, positions], dtype=torch.int64).to(device)
    ends = torch.tensor([sources, labels], dtype=torch.int64).to(device)
    return Packed(flat[:1], flat[1:], tuple(segments), ends[0], ends[1])
