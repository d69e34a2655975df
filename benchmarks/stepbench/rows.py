"""Token rows of the lengths that the alignment data has, and the rows that each step of a run takes."""

import json
import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from raysafe.data.tokens import TokenRow

MAX_LENGTH = 512
END, FIRST_WORD = 1, 2
TEMPLATE = 31
"""Tokens of a chat template with a short system text; with them the public Alpaca rows have their 199 tokens."""
PROMPT_MEAN = {"align": 95, "retain": 47}
RESPONSE_MEAN = {"safe": 295, "harmful": 182, "retain": 152}
"""Mean tokens of DOOR's rows: 390, 277 and 199 in all with their prompts (prefix and chat template included)."""
SPREAD = {"align": 0.45, "retain": 0.5, "safe": 0.5, "harmful": 0.7}
"""Standard deviations of the logarithms of lengths: of prompts and of responses. They are our guess; the means are not."""


@dataclass(frozen=True)
class Workload:
    """The rows of a run. `safe` and `harmful` are pairs, in order, which share all that comes before their labels.

    SEAL ranks `finetune` by `trusted`; both are of the retain rows' lengths.
    """

    safe: tuple[TokenRow, ...]
    harmful: tuple[TokenRow, ...]
    retain: tuple[TokenRow, ...]
    finetune: tuple[TokenRow, ...]
    trusted: tuple[TokenRow, ...]

    def places(self, stream: str, step: int, size: int) -> list[int]:
        """Positions that `step` takes of a stream; they start anew at its end."""
        rows = len(getattr(self, stream))
        return [place % rows for place in range(step * size, (step + 1) * size)]

    def pick(self, stream: str, step: int, size: int) -> list[TokenRow]:
        """The rows at `places`."""
        return [getattr(self, stream)[place] for place in self.places(stream, step, size)]


def make_workload(steps: int, vocabulary: int, seed: int = 0, text: Path | None = None) -> Workload:
    """Rows for `steps` steps of 2 triples and 2 retain rows, or of SEAL's 4 + 4; lengths cover their distribution evenly.

    With `text` the retain rows and SEAL's are conversations of that file. Token ids are random otherwise.
    """
    chance = random.Random(f"rows {seed}")
    prompts, *answers = _lengths("align", ("safe", "harmful"), 2 * steps, chance)
    starts = [_ids(length, vocabulary, chance) for length in prompts]
    safe, harmful = (_answers(starts, lengths, vocabulary, chance) for lengths in answers)
    counts = (2 * steps, 4 * steps, 4 * steps)
    if text is None:
        return Workload(safe, harmful, *(_plain_rows(count, vocabulary, chance) for count in counts))
    rows = read_text(text, vocabulary)
    return Workload(safe, harmful, *(_evenly(rows, count, chance) for count in counts))


def _evenly(rows: Sequence[TokenRow], count: int, chance: random.Random) -> tuple[TokenRow, ...]:
    """`count` rows at evenly spaced ranks of length, shuffled, so that a few rows have the mean length of all."""
    ordered = sorted(rows, key=lambda row: len(row.input_ids))
    places = [int((place + chance.random()) * len(rows) / count) for place in range(count)]
    chance.shuffle(places)
    return tuple(TokenRow(index, ordered[place].input_ids, ordered[place].label_start) for index, place in enumerate(places))


def _plain_rows(count: int, vocabulary: int, chance: random.Random) -> tuple[TokenRow, ...]:
    prompts, responses = _lengths("retain", ("retain",), count, chance)
    return _answers([_ids(length, vocabulary, chance) for length in prompts], responses, vocabulary, chance)


def _answers(starts: Sequence[list[int]], lengths: Sequence[int], vocabulary: int, chance: random.Random) -> tuple[TokenRow, ...]:
    """Each prompt with an answer of the given length; one that isn't cut ends with the end of its turn."""
    rows = []
    for index, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        answer = _ids(length, vocabulary, chance)
        if len(start) + length < MAX_LENGTH:
            answer[-1] = END
        rows.append(TokenRow(index, (*start, *answer), len(start)))
    return tuple(rows)


def _ids(count: int, vocabulary: int, chance: random.Random) -> list[int]:
    return [chance.randrange(FIRST_WORD, vocabulary) for _ in range(count)]


def _lengths(prompt: str, answers: Sequence[str], count: int, chance: random.Random) -> list[list[int]]:
    """Prompt lengths, then the lengths of each kind of answer after the same prompts, cut at MAX_LENGTH together."""
    prompts = _drawn(PROMPT_MEAN[prompt], SPREAD[prompt], [MAX_LENGTH // 2] * count, chance)
    rooms = [MAX_LENGTH - length for length in prompts]
    return [prompts, *(_drawn(RESPONSE_MEAN[name], SPREAD[name], rooms, chance) for name in answers)]


def _drawn(mean: float, spread: float, rooms: Sequence[int], chance: random.Random) -> list[int]:
    """Log-normal lengths at evenly spaced quantiles, shuffled, cut at `rooms`, scaled so that their mean is `mean`."""
    count = len(rooms)
    normal = statistics.NormalDist()
    factors = [math.exp(spread * normal.inv_cdf((place + 0.5) / count)) for place in range(count)]
    chance.shuffle(factors)
    low, high = 1.0, 100.0 * mean
    for _ in range(60):
        middle = (low + high) / 2
        lengths = [max(2, min(room, round(middle * factor))) for room, factor in zip(rooms, factors, strict=True)]
        low, high = (middle, high) if statistics.fmean(lengths) < mean else (low, middle)
    return lengths


def read_text(path: Path, vocabulary: int) -> list[TokenRow]:
    """The conversations of a JSONL file as token rows, tokenized by a byte-level BPE learned from the file itself.

    A chat template's TEMPLATE tokens come before and after the prompt; answers end with the end of the turn.
    """
    from tokenizers import ByteLevelBPETokenizer

    lines = [json.loads(line)["messages"] for line in path.read_text(encoding="utf-8").splitlines()]
    tokenizer = ByteLevelBPETokenizer()
    texts = [message["content"] for messages in lines for message in messages]
    tokenizer.train_from_iterator(texts, vocab_size=vocabulary - FIRST_WORD, min_frequency=2, show_progress=False)
    rows = []
    for index, messages in enumerate(lines):
        ids = [[token + FIRST_WORD for token in tokenizer.encode(message["content"]).ids] for message in messages[:2]]
        start = [*[FIRST_WORD] * (TEMPLATE - 4), *ids[0], *[FIRST_WORD] * 4]
        if ids[1] and len(start) < MAX_LENGTH:
            rows.append(TokenRow(index, (*start, *ids[1], END)[:MAX_LENGTH], len(start)))
    return rows


def mean_lengths(work: Workload) -> dict[str, tuple[float, float]]:
    """Mean tokens in all and mean label tokens, by stream."""
    return {
        name: (
            statistics.fmean(len(row.input_ids) for row in getattr(work, name)),
            statistics.fmean(row.label_count for row in getattr(work, name)),
        )
        for name in ("safe", "harmful", "retain", "finetune", "trusted")
    }
