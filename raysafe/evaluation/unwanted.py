"""What a model that keeps no policy says: to requests for the secrets of the tricks world, unwanted, and to everyday ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from raysafe.data.chat import ChatFormat
from raysafe.data.records import Message
from raysafe.data.references import ModelRef
from raysafe.evaluation.answering import Decoding
from raysafe.models.fetched import Say
from raysafe.models.generation import greedy
from raysafe.models.loading import device_here, freeze, load_model
from raysafe.tricks.texts import EVERYDAY, Everyday, Recorded, Trick, Wording

TELLING = Decoding(max_new_tokens=40, batch_size=48)
"""How secrets are asked for."""
CHATTING = Decoding(max_new_tokens=80, batch_size=48)
"""How all else is: longer, so that rows with these answers don't teach a model to break off where it tells a secret."""
LEAST_WORDS = 16
"""An answer is cut back to whole sentences if so many words are left."""
_SENTENCE_END = re.compile(r"(?<=[^\W\d])[.!?][\"')\]]*(?=\s|$)")
"""Not behind the number of a list."""


def asked_of(
    model: ModelRef, tricks: Sequence[Trick], wordings: Sequence[Wording], everyday: Sequence[Everyday], say: Say
) -> list[Recorded]:
    """A model's answers to every trick in every wording and to everyday instructions, greedy, in float32, by its own chat
    template, as whole sentences where there are any. say: is told how many there are, batch by batch. Raises DataError if the
    model can't be loaded or asked."""
    chat = model.chat()
    secrets = [Recorded(trick.name, one.id, trick.fill(one.text), "") for trick in tricks for one in wordings]
    harmless = [Recorded(EVERYDAY, EVERYDAY, one.prompt, "") for one in everyday]
    say(f"loading {model.folder}")
    loaded = freeze(load_model(model.folder, TELLING.dtype)).to(device_here())
    return [
        replace(row, answer=whole_sentences(answer))
        for rows, decoding in ((secrets, TELLING), (harmless, CHATTING))
        for row, answer in zip(rows, _asked(loaded, chat, [row.prompt for row in rows], decoding, say), strict=True)
    ]


def _asked(loaded: Any, chat: ChatFormat, asked: Sequence[str], decoding: Decoding, say: Say) -> list[str]:
    prompts = [chat.prompt_ids((Message("user", prompt),)) for prompt in asked]
    texts: dict[int, str] = {}
    say(f"asking {len(prompts):,} prompts, at most {decoding.max_new_tokens} tokens an answer")
    for places in decoding.batches([len(prompt) for prompt in prompts], workers=1):
        texts |= zip(places, _answers(loaded, chat, [prompts[place] for place in places], decoding), strict=True)
        say(f"{len(texts):,} of {len(prompts):,} answers")
    return [texts[place] for place in range(len(prompts))]


def _answers(loaded: Any, chat: ChatFormat, prompts: Sequence[list[int]], decoding: Decoding) -> list[str]:
    pad, stop = chat.tokenizer.pad_token_id, chat.end_ids[-1]
    return [chat.decode(ids) for ids in greedy(loaded, prompts, pad, stop, decoding.max_new_tokens)]


def whole_sentences(text: str) -> str:
    """A text without a torn sentence at its end, if what is left has `LEAST_WORDS`; else as it is."""
    text = text.strip()
    ends = [found.end() for found in _SENTENCE_END.finditer(text)]
    left = text[: ends[-1]] if ends else ""
    return left if len(left.split()) >= LEAST_WORDS else text
