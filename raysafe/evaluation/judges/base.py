"""What a judge is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self, get_args, runtime_checkable

from raysafe.context import Context
from raysafe.data.records import Conversation, EvalPrompt
from raysafe.evaluation.roles import Hit, Role

EVERY_HIT: frozenset[Hit] = frozenset(get_args(Hit))
PARTIAL_REFUSAL = "partial_refusal"
"""The label of an answer that declines and gives some of what was asked for all the same."""


@dataclass(frozen=True)
class Question:
    """An answer to be judged. `role.hit` says what is asked about it; `prompt` is the row of the file, with its reference;
    `asked` the conversation as the model saw it; `answer` the whole answer, which begins with `prefilled`, what was put into the
    model's mouth."""

    role: Role
    prompt: EvalPrompt
    asked: Conversation
    answer: str
    prefilled: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether it was a hit. `score`: the judge's own figure behind it, where it has one, as the probability of a yes.

    label: the judge's own class, where it has some; of answers that are asked for refusals `full_refusal`, `partial_refusal`
    (which is a hit) or `compliance`.
    coherent: whether the answer says anything; the rules of `evaluation/coherence.py` have a say, too.
    """

    hit: bool
    score: float | None = None
    label: str = ""
    coherent: bool = True


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt."""

    role: Role
    prompt: EvalPrompt
    first: str
    second: str


@runtime_checkable
class Judge(Protocol):
    """A frozen dataclass: its fields are its settings. Settings, name and version are part of the key of its verdicts, so a
    judge that comes to decide otherwise takes another version. With several workers each judges a share of the questions."""

    name: ClassVar[str]
    version: ClassVar[str]

    def found(self) -> Self:
        """The judge, once what its settings name outside of them is found to be there: files, folders, packages, environment.
        What decides about verdicts goes into fields of its own (`init=False`), as a fingerprint; where it lies is off the key.

        Raises ConfigError or DataError naming the setting. Called for every trial: what takes time is remembered by `stamp`.
        """
        return self

    def judge(self, questions: Sequence[Question]) -> Sequence[Verdict | None]:
        """A verdict for every question, in order; None where it came to none, which is counted and never guessed."""
        ...

    def prefer(self, pairs: Sequence[Pair]) -> Sequence[float | None]:
        """For every pair 1.0 if the first answer is better, 0.0 if the second, 0.5 for a tie; None where it can't say."""
        ...


def decides(judge: Judge) -> frozenset[Hit]:
    """What a judge can be asked: what it has as `decides`, a class attribute or a property; everything where it has none.

    It is never asked anything else, and metrics that would need it are left out.
    """
    found: frozenset[Hit] = getattr(judge, "decides", EVERY_HIT)
    return found


def placed(judge: Judge, context: Context) -> Judge:
    """The judge where it works: one that has a `placed` method is told the worker's device and the store's folder for replies."""
    place = getattr(judge, "placed", None)
    return place(context) if place is not None else judge


class RuleJudge(ABC):
    """A judge that decides about one answer at a time, by rules."""

    def found(self) -> Self:
        """Rules need nothing else."""
        return self

    def judge(self, questions: Sequence[Question]) -> list[Verdict]:
        """By the rule that the role asks for."""
        return [self._verdict(question) for question in questions]

    def _verdict(self, question: Question) -> Verdict:
        if question.role.hit == "complied":
            return self.of_an_attack(question)
        rule = self.refuses if question.role.hit == "refused" else self.correct
        return Verdict(rule(question.prompt, question.answer), label=self._label(question))

    def of_an_attack(self, question: Question) -> Verdict:
        """Of an answer to an attack, for a judge that looks at more than prompt and answer or has a figure behind its verdict."""
        return Verdict(self.complies(question.prompt, question.answer))

    def _label(self, question: Question) -> str:
        helps = self.helps_too(question.answer) if question.role.hit == "refused" else None
        if helps is None:
            return ""
        if not self.refuses(question.prompt, question.answer):
            return "compliance"
        return PARTIAL_REFUSAL if helps else "full_refusal"

    def helps_too(self, answer: str) -> bool | None:
        """Whether an answer that refuses helps all the same, which makes it a partial refusal; None for a judge that doesn't say,
        whose verdicts have no label."""
        return None

    def prefer(self, pairs: Sequence[Pair]) -> list[float]:
        """The answer of higher quality."""
        qualities = [[self.quality(pair.role, pair.prompt, text) for text in (pair.first, pair.second)] for pair in pairs]
        return [0.5 + 0.5 * (first > second) - 0.5 * (first < second) for first, second in qualities]

    @abstractmethod
    def refuses(self, prompt: EvalPrompt, answer: str) -> bool:
        """Whether the answer declines."""

    @abstractmethod
    def complies(self, prompt: EvalPrompt, answer: str) -> bool:
        """Whether an attack with this answer succeeded."""

    @abstractmethod
    def correct(self, prompt: EvalPrompt, answer: str) -> bool:
        """Whether the answer agrees with the prompt's reference."""

    @abstractmethod
    def quality(self, role: Role, prompt: EvalPrompt, answer: str) -> float:
        """How good an answer is among others to its prompt."""
