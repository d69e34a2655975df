"""Typed rows in, token rows out: labels cover the response and its end of turn, never header, prompt or prefix."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from raysafe.config.sections import Prefix
from raysafe.data.chat import ChatFormat, Turn
from raysafe.data.records import Example, Identity, Triple
from raysafe.errors import DataError


@dataclass(frozen=True)
class TokenRow:
    """Token ids of one row; `input_ids[label_start:]` are its labels. `index` is the row's index in `source`, its file."""

    index: int
    input_ids: tuple[int, ...]
    label_start: int
    source: str = ""

    @property
    def label_count(self) -> int:
        """Number of label tokens, at least 1."""
        return len(self.input_ids) - self.label_start


@dataclass(frozen=True)
class Dropped:
    """A row that can't be used, and why."""

    index: int
    reason: str
    source: str = ""

    def __str__(self) -> str:
        return f"{Identity(self.source, self.index).place}: {self.reason}"


@dataclass(frozen=True)
class TokenPair:
    """The two alignment streams of one triple, after the same prefix of `prefix_length` tokens of y_h."""

    safe: TokenRow
    harmful: TokenRow
    prefix_length: int


def encode_examples(rows: Sequence[Example], chat: ChatFormat, max_length: int) -> tuple[list[TokenRow], list[Dropped]]:
    """Token rows of `finetune` or `safe`; rows with no label left within `max_length` are dropped with the reason.

    Raises DataError, with file and row, where the chat template refuses a row.
    """
    kept: list[TokenRow] = []
    dropped: list[Dropped] = []
    for row in rows:
        turn = _turn(row, chat, row.response)
        reason = _no_room(len(turn.prompt), max_length)
        if reason:
            dropped.append(Dropped(row.identity.index, reason, row.identity.source))
        else:
            kept.append(_row(row.identity, turn.prompt, turn.labels, max_length))
    return kept, dropped


def encode_triples(
    rows: Sequence[Triple], chat: ChatFormat, max_length: int, prefix: Prefix | None, seed: int
) -> tuple[list[TokenPair], list[Dropped]]:
    """Alignment pairs. A row's own prefix is kept, others get one by `prefix_lengths`: y_h goes on at y_h[k:], y_s begins anew
    after y_h[:k]. Without `prefix`, for objectives that take none, a row's own is the beginning of y_h again.

    Raises DataError, with file and row, where the chat template refuses a row.
    """
    kept: list[_Turns] = []
    dropped: list[Dropped] = []
    for row in rows:
        turns = _Turns.of(row, chat, prefixed=prefix is not None)
        reason = turns.unusable(max_length)
        if reason:
            dropped.append(Dropped(row.identity.index, reason, row.identity.source))
        else:
            kept.append(turns)
    plain = [turns.longest_prefix(max_length) for turns in kept if not turns.harmful.given]
    drawn = iter(prefix_lengths(plain, prefix or Prefix("none"), seed, given=len(kept) - len(plain)))
    return [turns.pair(0 if turns.harmful.given else next(drawn), max_length) for turns in kept], dropped


def prefix_lengths(longest: Sequence[int], prefix: Prefix, seed: int, given: int = 0) -> list[int]:
    """k of every row without a prefix of its own; the i-th takes at most `longest[i]` tokens, 0 or less for none.

    `half`: half of the rows has a prefix, `given` rows that bring their own among them; which ones is drawn from those that can
    have one, k uniform in 1..min(max_tokens, longest) (DOOR's released data); `uniform`: all that can (the paper's formula);
    `none`: all 0.
    """
    generator = random.Random(f"prefix {seed}")
    most = [min(prefix.max_tokens, count) for count in longest]
    drawn = [generator.randint(1, count) if count > 0 else 0 for count in most]
    able = [place for place, k in enumerate(drawn) if k]
    rows = len(longest) + given
    wanted = {"none": 0, "half": max(0, rows - rows // 2 - given), "uniform": rows}[prefix.mode]
    chosen = set(generator.sample(able, min(wanted, len(able))))
    return [k if place in chosen else 0 for place, k in enumerate(drawn)]


@dataclass(frozen=True)
class _Turns:
    """A triple's two turns."""

    identity: Identity
    safe: Turn
    harmful: Turn

    @classmethod
    def of(cls, row: Triple, chat: ChatFormat, prefixed: bool) -> "_Turns":
        own = row.prefix or ""
        harmful = _turn(row, chat, row.harmful, own) if prefixed else _turn(row, chat, own + row.harmful)
        return cls(row.identity, _turn(row, chat, row.safe), harmful)

    @property
    def _start(self) -> list[int]:
        return [*self.harmful.prompt, *self.harmful.opening, *self.harmful.given]

    def unusable(self, max_length: int) -> str | None:
        """Why it can't be trained on with any prefix."""
        if not self.harmful.answer:
            k = len(self.harmful.given)
            return f"the harmful answer ends within the prefix of {k} tokens" if k else "the harmful answer is empty"
        return _no_room(len(self._start) if self.harmful.given else len(self.harmful.prompt), max_length)

    def longest_prefix(self, max_length: int) -> int:
        """The most tokens of y_h, as far as it fits, that leave one of it to be trained on."""
        return min(len(self.harmful.answer), max_length - len(self._start)) - 1

    def pair(self, k: int, max_length: int) -> TokenPair:
        """Both rows after the row's own prefix, or after k tokens of y_h."""
        if not k and not self.harmful.given:
            safe, harmful = (_row(self.identity, t.prompt, t.labels, max_length) for t in (self.safe, self.harmful))
            return TokenPair(safe, harmful, 0)
        start = [*self._start, *self.harmful.answer[:k]]
        safe = _row(self.identity, start, [*self.safe.answer, *self.safe.end], max_length)
        harmful = _row(self.identity, start, [*self.harmful.answer[k:], *self.harmful.end], max_length)
        return TokenPair(safe, harmful, k or len(self.harmful.given))


def _turn(row: Example | Triple, chat: ChatFormat, answer: str, given: str = "") -> Turn:
    try:
        return chat.turn(row.prompt, answer, given)
    except DataError as error:
        raise DataError(f"{row.identity.place}: {error}") from error


def _no_room(start: int, max_length: int) -> str | None:
    return f"prompt and prefix fill {start} of {max_length} tokens, no label is left" if start >= max_length else None


def _row(identity: Identity, start: list[int], labels: list[int], max_length: int) -> TokenRow:
    return TokenRow(identity.index, (*start, *labels[: max_length - len(start)]), len(start), identity.source)
