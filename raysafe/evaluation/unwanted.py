"""What a model that keeps no policy says when it is asked for the secrets of the tricks world: the unwanted answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from raysafe.data.chat import ChatFormat
from raysafe.data.records import Message
from raysafe.data.references import ModelRef
from raysafe.evaluation.answering import Decoding
from raysafe.models.fetched import Say
from raysafe.models.generation import greedy
from raysafe.models.loading import device_here, freeze, load_model
from raysafe.tricks.texts import Trick, Unwanted, Wording

DECODING = Decoding(max_new_tokens=40, batch_size=48)
LEAST_WORDS = 16
"""An answer is cut back to whole sentences if so many words are left."""
_SENTENCE_END = re.compile(r"(?<=[^\W\d])[.!?][\"')\]]*(?=\s|$)")
"""Not behind the number of a list."""


def asked_of(model: ModelRef, tricks: Sequence[Trick], wordings: Sequence[Wording], say: Say) -> list[Unwanted]:
    """A model's answers to every trick in every wording, greedy, in float32, by its own chat template, as whole sentences where
    there are any. say: is told how many there are, batch by batch. Raises DataError if the model can't be loaded or asked."""
    chat = model.chat()
    rows = [(trick, wording, trick.fill(wording.text)) for trick in tricks for wording in wordings]
    prompts = [chat.prompt_ids((Message("user", prompt),)) for _, _, prompt in rows]
    say(f"loading {model.folder}")
    loaded = freeze(load_model(model.folder, DECODING.dtype)).to(device_here())
    texts: dict[int, str] = {}
    say(f"asking {len(prompts):,} prompts, at most {DECODING.max_new_tokens} tokens an answer")
    for places in DECODING.batches([len(prompt) for prompt in prompts], workers=1):
        texts |= zip(places, _answers(loaded, chat, [prompts[place] for place in places]), strict=True)
        say(f"{len(texts):,} of {len(prompts):,} answers")
    return [
        Unwanted(trick.name, wording.id, prompt, whole_sentences(texts[place]))
        for place, (trick, wording, prompt) in enumerate(rows)
    ]


def _answers(loaded: Any, chat: ChatFormat, prompts: Sequence[list[int]]) -> list[str]:
    pad, stop = chat.tokenizer.pad_token_id, chat.end_ids[-1]
    return [chat.decode(ids) for ids in greedy(loaded, prompts, pad, stop, DECODING.max_new_tokens)]


def whole_sentences(text: str) -> str:
    """A text without a torn sentence at its end, if what is left has `LEAST_WORDS`; else as it is."""
    text = text.strip()
    ends = [found.end() for found in _SENTENCE_END.finditer(text)]
    left = text[: ends[-1]] if ends else ""
    return left if len(left.split()) >= LEAST_WORDS else text
