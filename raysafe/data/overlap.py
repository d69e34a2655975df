"""Evaluation prompts in what is trained on: equal but for case, punctuation and white space, or in pieces of n words.

Words are found in Unicode's NFKC form, case folded; punctuation divides words, symbols (`+`, `<`) are words of their own.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from raysafe.data.records import Conversation, EvalPrompt, Example, Row, Triple, key_of
from raysafe.errors import DataError

NGRAM = 8
"""Words of a piece: long enough to be no turn of phrase, short enough for questions (PaLM, arXiv:2204.02311, took 8, too)."""
LEAST_WORDS = 3
"""A prompt of fewer than n words is looked for whole; one of fewer than this is in any text, and left out."""
OVERLAP = "data_overlap.json"
"""What a sweep's folder has of it."""
CHUNK = 2000
"""Texts that are searched at once."""
_WORD = re.compile(r"\w+|[^\w\s]")
_SYMBOLS = {"Sm", "Sc", "So"}


@dataclass(frozen=True)
class Overlap:
    """How far a role's prompts stand in one data set. `found`: prompts of which a piece is there, `half`: of which at least half
    of the pieces are in one text, `whole`: all of them; `most`: the largest share, of the prompt at `prompt` in the row `row`."""

    role: str
    data: str
    prompts: int
    found: int
    half: int
    whole: int
    most: float
    prompt: str = ""
    row: str = ""


def words(text: str) -> list[str]:
    """A text's words, as they are compared."""
    found = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return [word for word in found if word[0].isalnum() or word[0] == "_" or unicodedata.category(word[0]) in _SYMBOLS]


def _said(turns: Conversation) -> str:
    return " \n ".join(turn.content for turn in turns)


def _asked(prompt: EvalPrompt) -> list[Conversation]:
    return [prompt.prompt, *prompt.scripts]


def check_normalised(training: Mapping[str, Sequence[Row]], evaluation: Mapping[str, Sequence[EvalPrompt]]) -> None:
    """Raise DataError for an evaluation prompt that is one of the training's but for case, punctuation, white space or the form
    of its Unicode."""
    asked: dict[str, tuple[str, EvalPrompt]] = {}
    for role, prompts in evaluation.items():
        for prompt in prompts:
            for turns in _asked(prompt):
                if text := " ".join(words(_said(turns))):
                    asked.setdefault(text, (role, prompt))
    for name, rows in training.items():
        for row in rows:
            found = asked.get(" ".join(words(_said(row.prompt))))
            if found is not None:
                role, prompt = found
                role = role if role.startswith("evaluation.") else f"evaluation.{role}"
                raise DataError(
                    f"{role}: {prompt.identity.place}: this prompt is also one of {key_of(name)}, "
                    f"{row.identity.place}, but for case, punctuation or white space; scores on prompts that were "
                    "trained on mean nothing. Remove one of the two."
                )


def _texts(row: Row) -> Iterator[str]:
    """What of a row is trained on: its prompt, and its answers."""
    yield _said(row.prompt)
    if isinstance(row, Example):
        yield row.response
    elif isinstance(row, Triple):
        yield from (row.safe, (row.prefix or "") + row.harmful)


class _Pieces:
    """The pieces of a role's prompts as numbers, and which prompts have them."""

    def __init__(self, prompts: Sequence[EvalPrompt], n: int) -> None:
        self.prompts, found = prompts, [words(" ".join(map(_said, _asked(prompt)))) for prompt in prompts]
        vocabulary = sorted({word for one in found for word in one})
        draw = np.random.default_rng(0).integers(1, 2**63, len(vocabulary), dtype=np.uint64)
        self.ids: dict[str, int] = {word: int(number) for word, number in zip(vocabulary, draw, strict=True)}
        owners: dict[tuple[int, int], set[int]] = {}
        self.counts = np.zeros(len(prompts), dtype=np.int64)
        for place, one in enumerate(found):
            size = min(n, len(one))
            if size >= LEAST_WORDS:
                mine = {
                    (size, int(number)) for number in _rolled(np.array([self.ids[word] for word in one], dtype=np.uint64), size)
                }
                self.counts[place] = len(mine)
                for piece in mine:
                    owners.setdefault(piece, set()).add(place)
        self.sizes = sorted({size for size, _ in owners})
        self.known = {
            size: np.array(sorted(number for own, number in owners if own == size), dtype=np.uint64) for size in self.sizes
        }
        self.owners = {size: [np.array(sorted(owners[size, int(number)])) for number in self.known[size]] for size in self.sizes}

    def shares(self, texts: Sequence[list[str]]) -> Iterator[tuple[int, int, float]]:
        """(text, prompt, share of the prompt's pieces in the text) where there is one."""
        lengths = [len(text) for text in texts]
        flat = np.array([self.ids.get(word, 0) for text in texts for word in [*text, ""]], dtype=np.uint64)
        of_text = np.repeat(np.arange(len(texts)), [length + 1 for length in lengths])
        pairs = [pair for size in self.sizes for pair in self._hits(flat, of_text, size)]
        if not pairs:
            return
        found, times = np.unique(np.concatenate(pairs), axis=0, return_counts=True)
        for (text, prompt), count in zip(found.tolist(), times.tolist(), strict=True):
            yield text, prompt, count / int(self.counts[prompt])

    def _hits(self, flat: np.ndarray, of_text: np.ndarray, size: int) -> Iterator[np.ndarray]:
        """(text, prompt) of every piece of this size, once a text."""
        if len(flat) < size:
            return
        strange = np.concatenate([[0], np.cumsum(flat == 0)])
        starts = np.flatnonzero(strange[size:] == strange[:-size])
        if not len(starts):
            return
        numbers = _rolled(flat, size, starts)
        place = np.minimum(np.searchsorted(self.known[size], numbers), len(self.known[size]) - 1)
        hit = self.known[size][place] == numbers
        once = np.unique(np.stack([of_text[starts[hit]], place[hit]], axis=1), axis=0)
        for text, piece in once.tolist():
            owners = self.owners[size][piece]
            yield np.stack([np.full(len(owners), text), owners], axis=1)


def _rolled(ids: np.ndarray, size: int, starts: np.ndarray | None = None) -> np.ndarray:
    """A number for each piece of `size` words, 64 bits of them."""
    starts = np.arange(len(ids) - size + 1) if starts is None else starts
    total = np.zeros(len(starts), dtype=np.uint64)
    for offset in range(size):
        total = total * np.uint64(0x9E3779B97F4A7C15) + ids[starts + offset]
    return total


def overlaps(
    training: Mapping[str, Sequence[Row]], evaluation: Mapping[str, Sequence[EvalPrompt]], n: int = NGRAM
) -> list[Overlap]:
    """For each role and data set the largest share of every prompt's pieces of n words that stands in a single text of a row (its
    prompt, or one of its answers)."""
    pieces = {role: _Pieces(prompts, n) for role, prompts in evaluation.items()}
    found: list[Overlap] = []
    for name, rows in training.items():
        best = {role: (np.zeros(len(one.prompts)), np.full(len(one.prompts), -1)) for role, one in pieces.items()}
        texts = ((place, words(text)) for place, row in enumerate(rows) for text in _texts(row))
        while chunk := list(islice(texts, CHUNK)):
            for role, one in pieces.items():
                shares, at = best[role]
                for text, prompt, share in one.shares([text for _, text in chunk]):
                    if share > shares[prompt]:
                        shares[prompt], at[prompt] = share, chunk[text][0]
        found += [_overlap(role, name, pieces[role].prompts, rows, best[role]) for role in pieces]
    return found


def _overlap(
    role: str, name: str, prompts: Sequence[EvalPrompt], rows: Sequence[Row], best: tuple[np.ndarray, np.ndarray]
) -> Overlap:
    shares, at = best
    found, half, whole = (int((shares >= least).sum()) for least in (1e-9, 0.5, 1.0))
    top, prompt, row = int(shares.argmax()) if len(shares) else 0, "", ""
    if found:
        prompt, row = prompts[top].identity.place, rows[int(at[top])].identity.place
    return Overlap(role, name, len(prompts), found, half, whole, float(shares[top]) if found else 0.0, prompt, row)


def told(lines: Iterable[Overlap], n: int = NGRAM) -> str:
    """One line: how many prompts share how much with what is trained on."""
    some = [line for line in lines if line.found]
    if not some:
        return f"overlap: no evaluation prompt shares {n} words in a row with a text that is trained on"
    parts = [
        f"{line.role} with {line.data} {line.found} of {line.prompts} ({line.half} by half, {line.whole} whole)" for line in some
    ]
    return f"overlap in pieces of {n} words: {'; '.join(parts)}"
