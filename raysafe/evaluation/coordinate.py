"""Greedy coordinate gradient (Zou et al., arXiv:2307.15043, algorithm 1): a search for a suffix that makes an answer's beginning
likely.

Letters: S tokens of the suffix, V vocabulary, B candidates, T tokens of the target, E embedding width, R tokens that are run.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

TOKENS_AT_ONCE = 8192
"""Of the vocabulary, where every token's embedding is asked for."""

Ids = Sequence[int]
Readable = Callable[[Sequence[list[int]]], list[bool]]
"""Which suffixes may be used: those whose text is read as these very tokens."""


@dataclass(frozen=True)
class Frame:
    """Token ids around a suffix, the target behind them: `before`, suffix, `after`, `target`. None is empty but `after`."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    target: tuple[int, ...]


class TargetLoss:
    """L(suffix) = -1/T sum_t log pi(target_t | before, suffix, after, target before t), of a frozen model in evaluation mode.

    Keys and values of `before` are computed once. Logits are computed at the target's T positions alone, and their softmax in
    float32 (float64 for a float64 model). micro_batch: candidates of one forward pass; None for all of them.
    """

    def __init__(self, model: Any, frame: Frame, micro_batch: int | None = None) -> None:
        self.model, self.frame, self.micro_batch = model, frame, micro_batch
        self.embed = model.get_input_embeddings()
        self.device = self.embed.weight.device
        self.prefix = _prefix(model, self._ids(frame.before)[None])
        self.target_T = self._ids(frame.target)

    @torch.no_grad()
    def __call__(self, suffixes_BS: Sequence[Ids]) -> tuple[Tensor, Tensor]:
        """(loss, reached), shape B each: the loss, and whether greedy decoding would give the target."""
        rows_BS = self._ids(suffixes_BS)
        parts = rows_BS.split(self.micro_batch or len(rows_BS))
        found = [self._of(self._logits(self.embed(self._around(part)))) for part in parts]
        losses, reached = (torch.cat(values) for values in zip(*found, strict=True))
        return losses, reached

    def gradient(self, suffix_S: Ids) -> Tensor:
        """dL/d onehot of every token at every place of the suffix, shape SV: by the chain rule dL/d embedding times every
        token's embedding."""
        with torch.enable_grad():
            embeddings_1RE = self.embed(self._around(self._ids([suffix_S]))).detach().requires_grad_()
            loss_1, _ = self._of(self._logits(embeddings_1RE))
            loss_1.sum().backward()  # the weights are frozen: nothing else gets a gradient
        gradient_1RE = embeddings_1RE.grad
        start = 0 if self.prefix is not None else len(self.frame.before)
        return self._by_token(gradient_1RE[0, start : start + len(suffix_S)])

    @torch.no_grad()
    def _by_token(self, gradient_SE: Tensor) -> Tensor:
        wide = _wide(gradient_SE)
        every = torch.arange(self.embed.weight.shape[0], device=self.device).split(TOKENS_AT_ONCE)
        return torch.cat([gradient_SE.to(wide) @ self.embed(tokens).to(wide).T for tokens in every], dim=1)

    def _around(self, suffixes_BS: Tensor) -> Tensor:
        """The tokens that are run, shape BR: all but the target's last, which predicts nothing, and but what is in `prefix`."""
        count, frame = len(suffixes_BS), self.frame
        before = () if self.prefix is not None else frame.before
        head, tail = self._ids(before), self._ids((*frame.after, *frame.target[:-1]))
        return torch.cat([head.expand(count, -1), suffixes_BS, tail.expand(count, -1)], dim=1)

    def _logits(self, embeddings_BRE: Tensor) -> Tensor:
        """Of the positions that predict the target, shape BTV."""
        past, count = None, len(self.frame.target)
        if self.prefix is not None:
            past = _cache(self.model, [tuple(part.expand(len(embeddings_BRE), -1, -1, -1) for part in kv) for kv in self.prefix])
        run = self.model(inputs_embeds=embeddings_BRE, past_key_values=past, use_cache=past is not None, logits_to_keep=count)
        return run.logits[:, -count:]

    def _of(self, logits_BTV: Tensor) -> tuple[Tensor, Tensor]:
        target_BT = self.target_T.expand(len(logits_BTV), -1)
        losses_BT = cross_entropy(logits_BTV.to(_wide(logits_BTV)).transpose(1, 2), target_BT, reduction="none")
        return losses_BT.mean(dim=1), (logits_BTV.argmax(dim=2) == target_BT).all(dim=1)

    def _ids(self, ids: Any) -> Tensor:
        return torch.as_tensor(ids, dtype=torch.long, device=self.device)


@torch.no_grad()
def _prefix(model: Any, before_1P: Tensor) -> list[tuple[Tensor, Tensor]] | None:
    """Keys and values of the beginning that all rows share, by layer; None for a model that keeps something else (a state, or
    the last tokens alone)."""
    layers = getattr(model(input_ids=before_1P, use_cache=True, logits_to_keep=1).past_key_values, "layers", [])
    kept = [(getattr(layer, "keys", None), getattr(layer, "values", None)) for layer in layers]
    whole = all(keys is not None and keys.dim() == 4 and keys.shape[2] == before_1P.shape[1] for keys, _ in kept)
    return kept if kept and whole else None  # type: ignore[return-value]  # None is not among them


def _cache(model: Any, layers: Sequence[tuple[Tensor, ...]]) -> Any:
    from transformers import DynamicCache

    return DynamicCache(layers, config=model.config)


def _wide(values: Tensor) -> torch.dtype:
    return torch.float64 if values.dtype == torch.float64 else torch.float32


@dataclass(frozen=True)
class Budget:
    """What a search may do. top_k: tokens that are considered at each place; batch: swaps that are tried in a step;
    early_stop: end as soon as greedy decoding would give the target."""

    steps: int
    top_k: int
    batch: int
    early_stop: bool


@dataclass
class Search:
    """A search as it goes. `losses`: of the suffix after so many steps. The best suffix so far, whether it reaches the target."""

    suffix: list[int]
    loss: float
    reached: bool
    losses: list[float] = field(default_factory=list)

    def note(self, suffix: list[int], loss: float, reached: bool) -> None:
        """A suffix that the search went on to; one that reaches the target is better than any that doesn't."""
        self.losses.append(loss)
        if (not reached, loss) < (not self.reached, self.loss):
            self.suffix, self.loss, self.reached = suffix, loss, reached


@dataclass(frozen=True)
class Coordinates:
    """What a search draws from: the tokens that may be used, shape V; which suffixes are readable; the random numbers."""

    allowed_V: Tensor
    readable: Readable
    draw: torch.Generator

    def candidates(self, gradient_SV: Tensor, suffix: list[int], budget: Budget) -> list[list[int]]:
        """Up to `batch` readable suffixes, each with one token swapped for one of the `top_k` of lowest gradient at its place;
        drawn without replacement from all such swaps."""
        here = torch.tensor(suffix, device=gradient_SV.device)[:, None]
        scores_SV = gradient_SV.masked_fill(~self.allowed_V.to(gradient_SV.device), float("inf")).scatter(1, here, float("inf"))
        count = min(budget.top_k, int(self.allowed_V.sum()) - 1)
        best_SK = scores_SV.topk(count, dim=1, largest=False).indices.tolist()
        order = torch.randperm(len(suffix) * count, generator=self.draw).tolist()
        swaps = iter([(pair // count, best_SK[pair // count][pair % count]) for pair in order])
        found: list[list[int]] = []
        while len(found) < budget.batch:
            rows = [_swapped(suffix, *swap) for swap, _ in zip(swaps, range(max(8, budget.batch - len(found))), strict=False)]
            if not rows:
                break
            found += [row for row, good in zip(rows, self.readable(rows), strict=True) if good]
        return found[: budget.batch]


def _swapped(suffix: list[int], place: int, token: int) -> list[int]:
    return [*suffix[:place], token, *suffix[place + 1 :]]


def search(loss: TargetLoss, start: list[int], coordinates: Coordinates, budget: Budget) -> Iterator[Search]:
    """Algorithm 1 of the paper: the best of each batch is gone on with, be it better than what it came from or not. Yields the
    one `Search`, which holds the best suffix of all, at the start and after each step. Ends early where no swap is readable."""
    current = start
    (first,), (reached,) = (values.tolist() for values in loss([start]))
    found = Search(start, first, reached, [first])
    yield found
    for _ in range(budget.steps):
        if found.reached and budget.early_stop:
            return
        rows = coordinates.candidates(loss.gradient(current), current, budget)
        if not rows:
            return
        losses, reached = loss(rows)
        ends = budget.early_stop and bool(reached.any())
        best = int((losses.masked_fill(~reached, float("inf")) if ends else losses).argmin())
        current = rows[best]
        found.note(current, float(losses[best]), bool(reached[best]))
        yield found
