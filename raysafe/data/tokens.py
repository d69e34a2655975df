"""Typed rows in, token rows out: labels cover the response and its end of turn, never header, prompt or prefix."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from raysafe.config.sections import Prefix
from raysafe.data.chat import ChatFormat
from raysafe.data.records import Example, Triple


@dataclass(frozen=True)
class TokenRow:
    """Token ids of one row; `input_ids[label_start:]` are its labels. `index` is the row's index in its source."""

    index: int
    input_ids: tuple[int, ...]
    label_start: int

    @property
    def label_count(self) -> int:
        """Number of label tokens, at least 1."""
        return len(self.input_ids) - self.label_start


@dataclass(frozen=True)
class Dropped:
    """A row that can't be used, and why."""

    index: int
    reason: str


@dataclass(frozen=True)
class TokenPair:
    """The two alignment streams of one triple, after the same prefix of `prefix_length` tokens of y_h."""

    safe: TokenRow
    harmful: TokenRow
    prefix_length: int


def encode_examples(rows: Sequence[Example], chat: ChatFormat, max_length: int) -> tuple[list[TokenRow], list[Dropped]]:
    """Token rows of `finetune` or `safe`; rows with no label left within `max_length` are dropped with the reason."""
    kept: list[TokenRow] = []
    dropped: list[Dropped] = []
    for row in rows:
        prompt_ids, answer_ids = chat.turn_ids(row.prompt, row.response)
        encoded = _row(row.identity.index, prompt_ids, [*answer_ids, *chat.end_ids], max_length)
        if isinstance(encoded, TokenRow):
            kept.append(encoded)
        else:
            dropped.append(encoded)
    return kept, dropped


def encode_triples(
    rows: Sequence[Triple], chat: ChatFormat, max_length: int, prefix: Prefix, seed: int
) -> tuple[list[TokenPair], list[Dropped]]:
    """Alignment pairs with prefixes drawn by `prefix_lengths`; y_h continues at y_h[k:], y_s begins anew after y_h[:k]."""
    kept: list[TokenPair] = []
    dropped: list[Dropped] = []
    for row, drawn in zip(rows, prefix_lengths(rows, prefix, seed), strict=True):
        prompt_ids = chat.prompt_ids(row.prompt)
        safe_ids = [*chat.answer_ids(row.prompt, row.safe), *chat.end_ids]
        harmful_ids, k = _harmful(row, chat, drawn)
        if k >= len(harmful_ids):
            dropped.append(Dropped(row.identity.index, f"the harmful answer ends within the prefix of {k} tokens"))
            continue
        start = [*prompt_ids, *harmful_ids[:k]]
        safe = _row(row.identity.index, start, safe_ids, max_length)
        harmful = _row(row.identity.index, start, [*harmful_ids[k:], *chat.end_ids], max_length)
        if isinstance(safe, Dropped) or isinstance(harmful, Dropped):
            dropped.append(safe if isinstance(safe, Dropped) else harmful)  # type: ignore[arg-type]
        else:
            kept.append(TokenPair(safe, harmful, k))
    return kept, dropped


def _harmful(row: Triple, chat: ChatFormat, drawn: int) -> tuple[list[int], int]:
    """Token ids of y_h, the prefix included, and k. A given prefix that would merge with what follows keeps its own tokens,
    so that k never falls before or after the boundary that the data gives."""
    if not row.prefix:
        return chat.answer_ids(row.prompt, row.harmful), drawn
    prefix_ids = chat.answer_ids(row.prompt, row.prefix)
    joint_ids = chat.answer_ids(row.prompt, row.prefix + row.harmful)
    if joint_ids[: len(prefix_ids)] != prefix_ids:
        joint_ids = [*prefix_ids, *chat.tokenizer(row.harmful, add_special_tokens=False)["input_ids"]]
    return joint_ids, len(prefix_ids)


def prefix_lengths(rows: Sequence[Triple], prefix: Prefix, seed: int) -> list[int]:
    """k of every row. `half`: a seeded half of the rows has k = 0, the others k uniform in 1..max_tokens (DOOR's released
    data); `uniform`: all rows 1..max_tokens (the paper's formula); `none`: all 0."""
    if prefix.mode == "none":
        return [0] * len(rows)
    generator = random.Random(f"prefix {seed}")
    drawn = [generator.randint(1, prefix.max_tokens) for _ in rows]
    plain = set(generator.sample(range(len(rows)), len(rows) // 2)) if prefix.mode == "half" else set()
    return [0 if position in plain else k for position, k in enumerate(drawn)]


def _row(index: int, start: list[int], labels: list[int], max_length: int) -> TokenRow | Dropped:
    room = max_length - len(start)
    if room <= 0:
        return Dropped(index, f"prompt and prefix fill {len(start)} of {max_length} tokens, no label is left")
    return TokenRow(index, (*start, *labels[:room]), len(start))
