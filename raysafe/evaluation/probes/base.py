"""What a probe is: figures of a model that need no judge, by prompt."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import ClassVar, Self, TypeVar

import torch

from raysafe.context import Context
from raysafe.data.chat import ChatFormat
from raysafe.data.records import EvalPrompt
from raysafe.data.tokens import TokenRow
from raysafe.evaluation.intervals import mean_interval
from raysafe.evaluation.metrics import Rate
from raysafe.evaluation.sharing import in_turn
from raysafe.models.policy import Policy

Item = TypeVar("Item")
Found = TypeVar("Found")

MOST_LABELS = 256
"""Positions of one batch at which the head runs: their logits are all of the vocabulary that is there at once."""


@dataclass(frozen=True)
class Subject:
    """The model that is read. `prompts`: the harmful ones that have a harmful answer; `base`: opens the model that it was trained
    from, None where this is that model itself."""

    policy: Policy
    chat: ChatFormat
    prompts: Sequence[EvalPrompt]
    context: Context
    base: Callable[[], AbstractContextManager[Policy]] | None = None


@dataclass(frozen=True)
class Value:
    """What was read at one prompt. `variant`: the depth, or the task; `source`: the task whose row it is, empty for a prompt of
    `evaluation.harmful`."""

    variant: str
    index: int
    content_hash: str
    value: float
    source: str = ""


@dataclass(frozen=True)
class Reading:
    """Figures by name, with what they are means of. `notes`: plain facts that belong to the result, such as versions."""

    rates: Mapping[str, Rate]
    values: Sequence[Value]
    notes: Mapping[str, str]


class Probe(ABC):
    """A frozen dataclass: its fields are its settings, which are in the key of what it reads, with its name and version."""

    name: ClassVar[str]
    figure: ClassVar[str]
    """What its figures are called, each with its variant behind: `kl_depth`, `kl_depth_5`."""
    version: ClassVar[str] = "1"
    needs_harmful: ClassVar[bool] = True
    """Whether it reads at the rows' `harmful` answers."""
    needs_base: ClassVar[bool] = False
    """Whether it compares with the model that training started from, of which it then tells nothing."""
    each_epoch: ClassVar[bool] = False
    """Whether it is cheap enough to be read after every training epoch."""
    alone: ClassVar[bool] = False
    """Whether it takes so long that it is kept by itself, and not read again when others change."""

    @abstractmethod
    def read(self, subject: Subject) -> Reading:
        """Read the model; every rank calls it, does a share, and gets all of it."""

    def found(self) -> Self:
        """The probe, once what its settings name outside of them is found to be there: files, folders, packages. What decides
        about its figures goes into fields of its own (`init=False`), as a fingerprint; where it lies is off the key.

        Raises ConfigError or DataError naming the setting. Called for every trial: what takes time is remembered.
        """
        return self


def in_batches(
    items: Sequence[Item], size: Callable[[Item], tuple[int, int]], work: Callable[[list[Item]], list[Found]], context: Context
) -> list[Found]:
    """`work` on all items, batch by batch in turn over the workers; all ranks get all results, in the order of the items.

    size: an item's tokens and labels. Batches are made by length and number of labels alone: what is computed together, and so
    every bit of the result, is the same whatever the number of workers. Raises StageStopped between two batches if the stage is
    to end.
    """
    batches = _batches([size(item) for item in items])
    found = in_turn(batches, lambda places: work([items[place] for place in places]), context)
    return [found[place] for place in range(len(items))]


def _batches(sizes: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Places of the items, shortest first, in batches of at most MOST_LABELS labels, or of one item that has more."""
    batches: list[list[int]] = []
    room = 0
    for place in sorted(range(len(sizes)), key=lambda place: sizes[place]):
        labels = sizes[place][1]
        if labels > room:
            batches.append([])
            room = MOST_LABELS
        batches[-1].append(place)
        room -= labels
    return batches


def label_log_probs(policy: Policy, rows: Sequence[TokenRow]) -> list[list[float]]:
    """log pi(token_t | tokens before t) of the labels of each row. The rows' labels are few: their logits are there at once."""
    logits_LV = policy.label_logits(rows)
    labels_L = torch.tensor([token for row in rows for token in row.input_ids[row.label_start :]], device=logits_LV.device)
    log_probs_L = logits_LV.gather(1, labels_L[:, None])[:, 0] - logits_LV.logsumexp(dim=1)
    return [part.tolist() for part in log_probs_L.split([row.label_count for row in rows])]


def by_depth(name: str, values: Sequence[Value], least: float = -math.inf) -> dict[str, Rate]:
    """`NAME_K`: the mean over prompts at depth K; `NAME`: the mean over prompts of each prompt's mean over its depths. No end of
    an interval is below `least`, as no value is."""
    depths: dict[str, list[float]] = {}
    prompts: dict[tuple[int, str], list[float]] = {}
    for one in values:
        depths.setdefault(one.variant, []).append(one.value)
        prompts.setdefault((one.index, one.content_hash), []).append(one.value)
    means = [sum(found) / len(found) for found in prompts.values()]
    lists = ({name: means} if means else {}) | {f"{name}_{depth}": depths[depth] for depth in sorted(depths, key=int)}
    rates = {figure: mean_interval(found) for figure, found in lists.items()}
    return {figure: replace(rate, low=max(least, rate.low)) for figure, rate in rates.items()}
