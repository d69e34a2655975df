"""Reference answers from a file as a stage: what win rates compare with, matched to the prompts by what these ask."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from raysafe.data.records import EvalPrompt, Example, content_hash
from raysafe.data.references import DataRef
from raysafe.errors import DataError
from raysafe.evaluation.answering import Answer, Answers
from raysafe.evaluation.suites import Suite, is_compared
from raysafe.training.workplace import Workplace


@dataclass(frozen=True)
class ReferenceResult:
    """How many prompts the file has an answer to, and how many not."""

    answers: int
    missing: int


@dataclass(frozen=True)
class ReferenceFileStage:
    """The answers of a file to the suites that are asked plainly, as if a model had given them. Prompts that it has no answer to
    are left out, and counted."""

    kind: ClassVar[str] = "answers"
    label: ClassVar[str] = "reference answers"
    shared: ClassVar[bool] = True
    Result: ClassVar[type[ReferenceResult]] = ReferenceResult
    suites: tuple[Suite, ...]
    data: DataRef

    def run(self, place: Workplace) -> ReferenceResult:
        """Look every prompt up."""
        known = answers_in(self.data.examples())
        asked = [(suite, prompt) for suite in self.suites for prompt in suite.prompts()]
        rows = [_answer(suite, prompt, known) for suite, prompt in asked]
        found = [row for row in rows if row is not None]
        if place.context.rank == 0:
            prompts = {(suite.source or suite.role, prompt.identity.index): prompt for suite, prompt in asked}
            Answers(tuple(found), prompts).save(place.folder)
        counts = ReferenceResult(len(found), len(rows) - len(found))
        place.context.report(1, {"reference/answers": float(counts.answers), "reference/missing": float(counts.missing)})
        return counts


def plainly_asked(suites: Sequence[Suite]) -> tuple[Suite, ...]:
    """The suites whose answers win rates compare."""
    return tuple(suite for suite in suites if is_compared(suite.role, suite.name))


def answers_in(rows: Sequence[Example]) -> dict[str, str]:
    """The answer by the hash of its prompt. Raises DataError naming a row whose prompt stands there with another answer, too."""
    known: dict[str, str] = {}
    for row in rows:
        if known.setdefault(content_hash(row.prompt), row.response) != row.response:
            raise DataError(f"{row.identity.place}: its prompt stands before it with another answer; leave one of them.")
    return known


def check_reference(data: DataRef, prompts: Sequence[EvalPrompt]) -> None:
    """Raises DataError if the file has no answer to any of the prompts."""
    known = answers_in(data.examples())
    if not any(content_hash(prompt.prompt) in known for prompt in prompts):
        raise DataError(f"`evaluation.reference`: {data.path}: none of its prompts is one that the trial is asked.")


def _answer(suite: Suite, prompt: EvalPrompt, known: dict[str, str]) -> Answer | None:
    text = known.get(content_hash(prompt.prompt))
    if text is None:
        return None
    return Answer(suite.name, suite.role, "", prompt.identity.index, prompt.content_hash, "", text, source=suite.source)
