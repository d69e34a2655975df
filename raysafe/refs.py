"""What stages depend on: references to a model, a data file and tokenized alignment rows, each with what identifies it."""

from dataclasses import dataclass, field
from typing import Any

from raysafe.artifacts import OFF_KEY
from raysafe.data.batches import shuffled
from raysafe.data.chat import ChatFormat, load_chat_format
from raysafe.data.loading import load_eval_prompts, load_examples, load_triples
from raysafe.data.records import EvalPrompt, Example, Triple, dataset_fingerprint
from raysafe.data.tokens import TokenPair, encode_triples
from raysafe.errors import DataError, StageError
from raysafe.settings import Prefix


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

    def examples(self) -> list[Example]:
        """Its rows; refused if they are no longer what was fingerprinted."""
        return self._same(load_examples(self.path))

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
class Alignment:
    """The alignment rows as they are tokenized for a trial."""

    data: DataRef
    prefix: Prefix
    max_length: int
    seed: int

    def pairs(self, chat: ChatFormat) -> tuple[list[TokenPair], dict[int, str]]:
        """Token pairs, and the reason of every dropped row by its index. Raises StageError if none is left."""
        pairs, dropped = encode_triples(self.data.triples(), chat, self.max_length, self.prefix, self.seed)
        if not pairs:
            raise StageError(f"{self.data.path}: no alignment row is usable: {dropped[0].reason}.")
        return pairs, {row.index: row.reason for row in dropped}
