"""Which rows an optimiser step sees, how they are split over micro-batches and workers, and the tensors they become."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from raysafe.data.tokens import TokenRow


@dataclass(frozen=True)
class Share:
    """One worker's part of one micro-batch of a stream: positions into the stream's rows; None fills up the shape."""

    positions: tuple[int | None, ...]


@lru_cache(maxsize=64)
def shuffled(rows: int, seed: int, salt: str, number: int) -> tuple[int, ...]:
    """Pass `number` over positions 0..rows-1, in an order that depends on the arguments alone."""
    order = list(range(rows))
    random.Random(f"{salt} {seed} {number}").shuffle(order)
    return tuple(order)


def cycled(rows: int, seed: int, salt: str, start: int, count: int) -> list[int]:
    """`count` positions from place `start` of the endless sequence of shuffled passes."""
    return [shuffled(rows, seed, salt, place // rows)[place % rows] for place in range(start, start + count)]


def split(positions: Sequence[int], batch_size: int, accumulation: int, workers: int) -> list[list[Share]]:
    """`result[micro][rank]`: the step's positions, in order, over micro-batches and workers, filled up with None."""
    size = batch_size // (accumulation * workers)
    padded: list[int | None] = [*positions, *[None] * (batch_size - len(positions))]
    shares = [Share(tuple(padded[start : start + size])) for start in range(0, batch_size, size)]
    return [shares[micro * workers : (micro + 1) * workers] for micro in range(accumulation)]


@dataclass(frozen=True)
class Batch:
    """B rows of one or several streams. weights_B: float32, 0.0 for rows that only fill up the shape. streams: name to its slice
    of B. positions: place in the stream's rows."""

    rows: tuple[TokenRow, ...]
    weights_B: Tensor
    streams: Mapping[str, slice]
    positions: Mapping[str, tuple[int, ...]]


def collate(shares: Mapping[str, Share], rows: Mapping[str, Sequence[TokenRow]]) -> Batch:
    """One batch of all streams; a filler repeats the stream's first row at weight 0."""
    chosen: list[TokenRow] = []
    weights: list[float] = []
    streams, positions = {}, {}
    for name, share in shares.items():
        places = tuple(place if place is not None else 0 for place in share.positions)
        streams[name] = slice(len(chosen), len(chosen) + len(places))
        positions[name] = places
        chosen += [rows[name][place] for place in places]
        weights += [float(place is not None) for place in share.positions]
    return Batch(tuple(chosen), torch.tensor(weights), streams, positions)


def label_mask(rows: Sequence[TokenRow]) -> Tensor:
    """1.0 for each label of each row, from the left, 0.0 after them; float32, shape BT with T the most labels of a row."""
    counts_B1 = torch.tensor([[row.label_count] for row in rows])
    return (torch.arange(int(counts_B1.max())) < counts_B1).to(torch.float32)


def label_count(rows: Sequence[TokenRow]) -> int:
    """Labels of all rows together."""
    return sum(row.label_count for row in rows)


def lay_out(values_L: Tensor, mask_BT: Tensor) -> Tensor:
    """Values that stand row by row, at the places of `label_mask`, shape BT, 0.0 elsewhere."""
    return values_L.new_zeros(mask_BT.shape).masked_scatter(mask_BT.bool(), values_L)


BLOCK = 8
"""Matrix products on a CPU take their rows in blocks, and what is left over by another kernel, with other bits in those rows.
With whole blocks a row's bits don't depend on its company (seen with all of MKL's kernels, its oldest included)."""
LEAST_BLOCKS = 2
"""Products of fewer rows take kernels of their own."""


def whole_blocks(count: int) -> int:
    """The next number of tokens or rows at which all is whole blocks."""
    return BLOCK * max(LEAST_BLOCKS, -(-count // BLOCK))


def pad_rows(rows: Sequence[TokenRow], pad_id: int, least: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """input_ids_BP, attention_mask_BP and label_mask_BP of some rows, P at least `least`."""
    longest = max(least, *(len(row.input_ids) for row in rows))
    input_ids_BP = torch.full((len(rows), longest), pad_id, dtype=torch.int64)
    attention_mask_BP = torch.zeros((len(rows), longest), dtype=torch.int64)
    label_mask_BP = torch.zeros((len(rows), longest), dtype=torch.float32)
    for place, row in enumerate(rows):
        length = len(row.input_ids)
        input_ids_BP[place, :length] = torch.tensor(row.input_ids)
        attention_mask_BP[place, :length] = 1
        label_mask_BP[place, row.label_start : length] = 1.0
    return input_ids_BP, attention_mask_BP, label_mask_BP
