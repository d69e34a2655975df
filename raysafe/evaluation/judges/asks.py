"""What a judge that asks in words asks, and how a reply is read: settings that stand in the user's file."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

from raysafe.artifacts import OFF_KEY, with_own
from raysafe.data.records import Conversation
from raysafe.errors import require
from raysafe.evaluation.judges.base import PARTIAL_REFUSAL, Pair, Question, Verdict
from raysafe.evaluation.judges.template import Template, find_template, variables_of
from raysafe.evaluation.roles import Hit

_NUMBER = r"([-+]?\d+(?:\.\d+)?)"
_MARKS = "*_`\"'.,:;!?()[]{}<>#"
"""What may stand around a word that is looked for."""


@dataclass(frozen=True)
class Words(ABC):
    """A template and what it makes a model say. The template's content is in the key, not where it lies."""

    template: str = field(metadata=OFF_KEY)
    """A Jinja file, or `package:NAME/PATH` of an installed package."""
    pattern: str | None = None
    """A regular expression whose first group (or all of it) is what is read, where it is found last; without one the whole
    reply is."""
    read: Template | None = field(init=False, default=None, metadata=OFF_KEY)
    asks: str = field(init=False, default="")

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise ValueError(f"pattern takes a regular expression, but got {self.pattern!r} ({error})") from None
        require(not self.doubled(), "each word means one thing", sorted(self.doubled()))

    @abstractmethod
    def meanings(self) -> dict[str, tuple[str, ...]]:
        """Words by what they mean."""

    def doubled(self) -> set[str]:
        """Words that mean two things."""
        every = [word.casefold() for words in self.meanings().values() for word in words]
        return {word for word in every if every.count(word) > 1}

    def found(self, key: str) -> Self:
        """With the template read. Raises DataError, with the setting's key, where there is none."""
        template = find_template(self.template, f"{key}.template")
        return with_own(self, read=template, asks=template.fingerprint)

    def captured(self, reply: str) -> str | None:
        """What the pattern finds in a reply; None where it finds nothing."""
        if self.pattern is None:
            return reply
        found = list(re.finditer(self.pattern, reply, re.IGNORECASE | re.DOTALL))
        return (found[-1].group(1) if found[-1].groups() else found[-1].group()) if found else None

    def meant(self, reply: str) -> str | None:
        """The meaning of a reply's first word, or else of its last; None where neither has one."""
        said = self.captured(reply)
        for word in _ends(said.casefold()) if said else ():
            for meaning, words in self.meanings().items():
                if word in [known.casefold() for known in words]:
                    return meaning
        return None


def _ends(text: str) -> Sequence[str]:
    words = [word.strip(_MARKS) for word in text.split()]
    words = [word for word in words if word]
    return (words[0], words[-1], " ".join(words)) if words else ()


@dataclass(frozen=True)
class Ask(Words):
    """How answers are asked about: by yes and no, or on a scale."""

    yes: tuple[str, ...] = ("yes",)
    no: tuple[str, ...] = ("no",)
    partial: tuple[str, ...] = ()
    """Of answers that are asked for refusals: words for one that declines and helps all the same, which counts as a refusal."""
    scale: tuple[float, float] | None = None
    """The numbers that mean no and yes, as [1, 5]; then the reply's number is read, and no words are."""
    least: float = 0.5
    """From where on the scale (0 no, 1 yes) an answer is a hit."""

    labels: ClassVar[dict[str, str]] = {"yes": "full_refusal", "partial": PARTIAL_REFUSAL, "no": "compliance"}

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.scale is None or self.scale[0] != self.scale[1], "scale has two different ends", self.scale)
        require(0 < self.least <= 1, "0 < least <= 1", self.least)

    def meanings(self) -> dict[str, tuple[str, ...]]:
        return {"yes": self.yes, "no": self.no, "partial": self.partial}

    def prompt(self, question: Question) -> str | Conversation:
        """What is sent."""
        assert self.read is not None  # found
        return self.read.render(variables_of(question))

    def verdict(self, reply: str, hit: Hit) -> Verdict | None:
        """What a reply says; None where nothing can be read out of it."""
        if self.scale is not None:
            score = self.score(reply)
            return None if score is None else Verdict(score >= self.least, score)
        meaning = self.meant(reply)
        if meaning is None:
            return None
        return Verdict(meaning != "no", None, self.labels[meaning] if hit == "refused" else "")

    def score(self, reply: str) -> float | None:
        """The reply's number on the scale, 0 to 1; None without one, or beyond the ends."""
        assert self.scale is not None
        found = re.search(_NUMBER, self.captured(reply) or "")
        if found is None:
            return None
        low, high = self.scale
        score = (float(found.group(1)) - low) / (high - low)
        return score if 0 <= score <= 1 else None


@dataclass(frozen=True)
class PairAsk(Words):
    """How two answers are asked about; the template reads `first` and `second` in place of `answer`."""

    first: tuple[str, ...] = ("a",)
    second: tuple[str, ...] = ("b",)
    tie: tuple[str, ...] = ("tie",)

    preference: ClassVar[dict[str, float]] = {"first": 1.0, "second": 0.0, "tie": 0.5}

    def meanings(self) -> dict[str, tuple[str, ...]]:
        return {"first": self.first, "second": self.second, "tie": self.tie}

    def prompt(self, pair: Pair) -> str | Conversation:
        """What is sent."""
        assert self.read is not None  # found
        values = variables_of(Question(pair.role, pair.prompt, pair.prompt.prompt, ""))
        del values["answer"]
        return self.read.render(values | {"first": pair.first, "second": pair.second})

    def preferred(self, reply: str) -> float | None:
        """1 for the first, 0 for the second, 0.5 for neither; None where nothing can be read out of the reply."""
        meaning = self.meant(reply)
        return None if meaning is None else self.preference[meaning]
