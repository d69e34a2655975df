"""Suffixes of a request as text and as tokens: what is replayed is text, so a suffix counts only if it is read as its tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from raysafe.data.chat import ChatFormat
from raysafe.data.records import Conversation
from raysafe.errors import DataError

_MARK = "raysafesuffix"
"""Stands in a rendered prompt where a suffix will."""


@dataclass(frozen=True)
class Seat:
    """Where a suffix stands: behind the last user turn's text and a space. `head` and `tail`: what is rendered around it."""

    chat: ChatFormat
    prompt: Conversation
    head: str
    tail: str

    @staticmethod
    def of(chat: ChatFormat, prompt: Conversation) -> "Seat":
        """The seat in a conversation that ends with a user turn. Raises DataError if the template does not render it once."""
        text = chat.prompt_text(_with(prompt, _MARK))
        if text.count(_MARK) != 1:
            raise DataError(f"The model's chat template renders a request {text.count(_MARK)} times, so it takes no suffix.")
        head, _, tail = text.partition(_MARK)
        return Seat(chat, prompt, head, tail)

    def asked(self, suffix: str) -> Conversation:
        """The conversation with a suffix."""
        return _with(self.prompt, suffix)

    def texts(self, suffixes: Sequence[Sequence[int]]) -> list[str]:
        """What suffixes of tokens are as text."""
        return [text.strip() for text in self.chat.tokenizer.batch_decode([list(ids) for ids in suffixes])]

    def split(self, suffix: str) -> tuple[list[int], list[int], list[int]]:
        """Token ids of the rendered prompt: before the suffix, of the suffix, and after it. A token that holds a part of it
        belongs to it."""
        found = self.chat.tokenizer(self.head + suffix + self.tail, add_special_tokens=False, return_offsets_mapping=True)
        ids, spans = found["input_ids"], found["offset_mapping"]
        start, stop = len(self.head), len(self.head) + len(suffix)
        places = [place for place, (first, last) in enumerate(spans) if first < stop and last > start]
        if not places:
            return ids, [], []
        return ids[: places[0]], ids[places[0] : places[-1] + 1], ids[places[-1] + 1 :]

    def readable(self, suffixes: Sequence[list[int]], before: Sequence[int], after: Sequence[int]) -> list[bool]:
        """Whether the text of each is read as `before`, its very tokens, `after`."""
        texts = [self.head + text + self.tail for text in self.texts(suffixes)]
        read = self.chat.tokenizer(texts, add_special_tokens=False)["input_ids"]
        return [ids == [*before, *suffix, *after] for ids, suffix in zip(read, suffixes, strict=True)]

    def drawn(self, length: int, allowed_V: Tensor, draw: torch.Generator) -> list[int]:
        """A readable suffix of `length` allowed tokens, drawn one by one. Raises DataError if there is none to be found."""
        tokens, suffix = allowed_V.nonzero()[:, 0], list[int]()
        for place in torch.randperm(len(tokens), generator=draw).tolist() * length:
            longer = [*suffix, int(tokens[place])]
            (text,) = self.texts([longer])
            if self.split(text)[1] == longer and self.chat.prompt_text(self.asked(text)) == self.head + text + self.tail:
                suffix = longer
            if len(suffix) == length:
                return suffix
        raise DataError(f"The model's tokenizer reads no {length} tokens in a row as they were written, so it takes no suffix.")


def _with(prompt: Conversation, suffix: str) -> Conversation:
    last = prompt[-1]
    return (*prompt[:-1], replace(last, content=f"{last.content.rstrip()} {suffix}"))


@lru_cache(maxsize=2)
def usable_tokens(chat: ChatFormat, size: int) -> Tensor:
    """Which of a vocabulary's `size` tokens a suffix may have, bool, shape V: none that is special or was added, none whose text
    is blank, a piece of a character, or not printable."""
    tokenizer = chat.tokenizer
    names = range(min(size, len(tokenizer)))
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    texts = tokenizer.batch_decode([[token] for token in names])
    usable_V = torch.zeros(size, dtype=torch.bool)
    good = [token for token, text in enumerate(texts) if text.strip() and text.isprintable() and "\ufffd" not in text]
    usable_V[[token for token in good if token not in special]] = True
    return usable_V
