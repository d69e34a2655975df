"""What stages depend on: references to a model, a data file and tokenized alignment rows, each with what identifies it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from raysafe.artifacts import OFF_KEY, fingerprint
from raysafe.config.sections import Prefix
from raysafe.data.batches import shuffled
from raysafe.data.chat import ChatFormat, load_chat_format
from raysafe.data.loading import load_eval_prompts, load_examples, load_triples
from raysafe.data.records import EvalPrompt, Example, Identity, Triple, dataset_fingerprint
from raysafe.data.tokens import TokenPair, encode_triples
from raysafe.errors import DataError, StageError


@dataclass(frozen=True)
class ModelRef:
    """A model folder and what identifies its content."""

    key: str
    folder: str = field(metadata=OFF_KEY)
    chat_template: str | None = field(default=None, metadata=OFF_KEY)

    def chat(self) -> ChatFormat:
        """Its tokenizer and chat template."""
        return load_chat_format(self.folder, self.chat_template)


@dataclass(frozen=True)
class DataRef:
    """A data file and the fingerprint of its rows."""

    fingerprint: str
    path: str = field(metadata=OFF_KEY)
    harmful_path: str | None = field(default=None, metadata=OFF_KEY)
    rows: int | None = field(default=None, metadata=OFF_KEY)
    """How many there are, where they have been counted."""

    @property
    def halves(self) -> bool:
        """Whether its rows are labelled, safe ones and unsafe ones."""
        return False

    def examples(self) -> list[Example]:
        """Its rows; refused if they are no longer what was fingerprinted."""
        return self._same(load_examples(self.path))

    def ranked(self) -> list[Example]:
        """What a selector is to rank: its rows, and behind them those planted among them."""
        return self.examples()

    def triples(self) -> list[Triple]:
        """Its rows as alignment triples."""
        return self._same(load_triples(self.path, self.harmful_path))

    def prompts(self) -> list[EvalPrompt]:
        """Its rows as evaluation prompts."""
        return self._same(load_eval_prompts(self.path))

    def _same(self, rows: Any) -> Any:
        if dataset_fingerprint(rows) != self.fingerprint:
            raise DataError(f"{self.path}: the file has changed since the sweep was started; start it anew.")
        return rows


@dataclass(frozen=True)
class HalvesRef(DataRef):
    """Evaluation prompts that are labelled, safe ones and unsafe ones (XSTest): the labels decide what is asked as what."""

    labels: str = field(kw_only=True)
    """Their fingerprint, as that of the rows is without them."""

    @property
    def halves(self) -> bool:
        """They are."""
        return True

    def _same(self, rows: Any) -> Any:
        rows = super()._same(rows)
        if labels_of(rows) != self.labels:
            raise DataError(f"{self.path}: its labels have changed since the sweep was started; start it anew.")
        return rows


def labels_of(rows: Sequence[Any]) -> str:
    """Fingerprint of the labels of evaluation rows that have both; empty where they don't."""
    labels = [row.unsafe for row in rows]
    return fingerprint(labels) if {True, False} <= set(labels) else ""


@dataclass(frozen=True)
class SelectionRef:
    """Selected rows of a data file: the fingerprint of their indices, and the `selection.parquet` that has them."""

    rows: str
    path: str = field(metadata=OFF_KEY)


@dataclass(frozen=True)
class LogProbsRef:
    """A frozen model's stored label log-probabilities: their stage's key, and its folder."""

    key: str
    folder: str = field(metadata=OFF_KEY)


@dataclass(frozen=True)
class Admixture:
    """Trusted rows that are trained on beside the selected ones (SafeInstr), by their indices in the trusted data."""

    data: DataRef
    rows: tuple[int, ...]

    def examples(self) -> list[Example]:
        """The rows themselves, in order."""
        every = self.data.examples()
        return [every[row] for row in self.rows]


def drawn(rows: int, count: int, seed: int) -> tuple[int, ...]:
    """`count` of the row indices 0..rows-1 without replacement, in order; a seed's smaller draws are part of its larger ones."""
    return tuple(sorted(shuffled(rows, seed, "safeinstr", 0)[:count]))


@dataclass(frozen=True)
class PlantedRef(DataRef):
    """Fine-tuning rows with known-bad ones planted behind them: still that file and that fingerprint, but ranked with company.

    A class of its own, so that the keys of stages without planted rows stay as they are.
    """

    align: DataRef = field(kw_only=True)
    """Where the planted rows come from."""
    count: int = field(kw_only=True)
    seed: int = field(kw_only=True)

    def ranked(self) -> list[Example]:
        """D's rows, then the planted ones."""
        rows = self.examples()
        return [*rows, *planted_rows(self.align.triples(), self.count, self.seed, len(rows))]


def planted_rows(triples: Sequence[Triple], count: int, seed: int, first: int) -> list[Example]:
    """Prompt and harmful answer of `count` triples, drawn without replacement, as rows of index `first`, `first` + 1, ...

    One seed's draws contain each other: those of a smaller count are among those of a larger.
    """
    order = list(range(len(triples)))
    random.Random(f"plant {seed}").shuffle(order)
    drawn = [triples[place] for place in sorted(order[:count])]
    return [
        Example(
            Identity(row.identity.source, first + number), row.prompt, (row.prefix or "") + row.harmful, unsafe=True, planted=True
        )
        for number, row in enumerate(drawn)
    ]


@dataclass(frozen=True)
class Alignment:
    """The alignment rows as they are tokenized for a trial."""

    data: DataRef
    prefix: Prefix | None
    """How prefixes are drawn; None for an objective that takes none."""
    max_length: int
    seed: int

    def pairs(self, chat: ChatFormat) -> tuple[list[TokenPair], dict[int, str]]:
        """Token pairs, and the reason of every dropped row by its index. Raises StageError if none is left."""
        pairs, dropped = encode_triples(self.data.triples(), chat, self.max_length, self.prefix, self.seed)
        if not pairs:
            raise StageError(f"No alignment row is usable: {dropped[0]}.")
        return pairs, {row.index: row.reason for row in dropped}
