"""Typed rows with identity: where a row came from, and a hash of what it says."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Speaker = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Speaker
    content: str


Conversation = tuple[Message, ...]


@dataclass(frozen=True)
class Identity:
    """`index` counts the rows of the loaded, unfiltered source from 0; it survives filtering, sharding and resuming."""

    source: str
    index: int

    @property
    def place(self) -> str:
        """`FILE, row N`, counted from 1, as errors name it."""
        return f"{self.source}, row {self.index + 1}"


@dataclass(frozen=True)
class Example:
    """A prompt (which ends with a user turn) and its answer. `unsafe` and `kind` are labels, where known.

    origin: the row's own `source` field, where a file mixes several. planted: a known-bad row that `data.plant` put in.
    """

    identity: Identity
    prompt: Conversation
    response: str
    kind: str | None = None
    unsafe: bool | None = None
    origin: str | None = None
    planted: bool = False

    @property
    def content_hash(self) -> str:
        """Hash of prompt and answer, without the labels."""
        return content_hash(self.prompt, self.response)


@dataclass(frozen=True)
class Triple:
    """A prompt with a safe answer y_s and a harmful answer y_h.

    prefix: the harmful beginning that both answers continue after, where the data brings it (the DOOR release's
    augmented files); `harmful` is then the continuation. Otherwise prefixes are drawn from `harmful`.
    """

    identity: Identity
    prompt: Conversation
    safe: str
    harmful: str
    prefix: str | None = None

    @property
    def content_hash(self) -> str:
        """Hash of the texts."""
        return content_hash(self.prompt, self.safe, self.harmful, *([self.prefix] if self.prefix else []))


@dataclass(frozen=True)
class EvalPrompt:
    """A prompt for evaluation, with what its suite needs: a reference answer, or a harmful one (or its beginning) to prefill.

    `kind` and `unsafe` are labels, where known. scripts: conversations written beforehand whose aim is this prompt; where one
    has no answer between two user turns, the model's own stands there. accept: phrases of which one makes an answer right, for
    judges that go by phrases and not by the whole `reference`.
    """

    identity: Identity
    prompt: Conversation
    reference: str | None = None
    harmful: str | None = None
    kind: str | None = None
    unsafe: bool | None = None
    scripts: tuple[Conversation, ...] = ()
    accept: tuple[str, ...] = ()

    @property
    def content_hash(self) -> str:
        """Hash of all texts."""
        more = [content_hash(script) for script in self.scripts]
        more += [content_hash((), *self.accept)] if self.accept else []
        return content_hash(self.prompt, self.reference or "", self.harmful or "", *more)


Row = Example | Triple | EvalPrompt


def content_hash(prompt: Conversation, *texts: str) -> str:
    """32 hex digits of SHA-256 over the conversation and the texts, unambiguous in where one ends."""
    turns = [[message.role, message.content] for message in prompt]
    return hashlib.sha256(json.dumps([turns, *texts]).encode()).hexdigest()[:32]


def dataset_fingerprint(rows: Iterable[Row]) -> str:
    """16 hex digits over the content hashes in order: equal for equal data, whatever the file is called."""
    return hashlib.sha256("".join(row.content_hash for row in rows).encode()).hexdigest()[:16]


def prompt_hashes(rows: Sequence[Row]) -> set[str]:
    """Hashes of the prompts alone, to find overlap between training and evaluation."""
    return {content_hash(row.prompt) for row in rows}


def key_of(data: str) -> str:
    """A data set that is trained on, as a message names it: by its key of the section `data`, or by another's whole key."""
    return data if "." in data else f"data.{data}"
