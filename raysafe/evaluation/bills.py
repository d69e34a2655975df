"""What judges that are paid will be asked, counted before they are: by prompts and templates, with answers as long as may be."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from raysafe.data.chat import Turn
from raysafe.data.records import Conversation
from raysafe.evaluation.attacks import Attack
from raysafe.evaluation.exam import Exam
from raysafe.evaluation.judges import Pair, Question, decides
from raysafe.evaluation.judges.bill import CHARACTERS_PER_TOKEN, Bill
from raysafe.evaluation.roles import ROLES
from raysafe.evaluation.served import ServedChat
from raysafe.evaluation.suites import Suite, is_compared

LONG = 100_000
"""Tokens of an answer that is longer than any prefill."""


@runtime_checkable
class Paid(Protocol):
    """A judge whose verdicts cost something."""

    def bill(self, questions: Sequence[Question], pairs: Sequence[Pair]) -> Bill | None:
        """What these would cost, had none of them been judged; None where its settings make it one that costs nothing."""
        ...


@dataclass(frozen=True)
class Counting(ServedChat):
    """A chat format for counting cases: every harmful answer is longer than any beginning of it."""

    def turn(self, prompt: Conversation, answer: str, given: str = "") -> Turn:
        """No tokens but those of a very long answer."""
        return Turn([0], [], [], [0] * LONG, [])


def bills_of(exam: Exam, epochs: int) -> dict[str, Bill]:
    """By judge, for one trained model: its answers in the end, for the first judge also those after each of `epochs` epochs.
    Judges that cost nothing are not in it."""
    found = {}
    for place, judge in enumerate(exam.judges):
        if not isinstance(judge, Paid):
            continue
        rounds = [(exam.suites, 1), *([(exam.after_epoch, epochs)] if place == 0 else [])]
        bills = [(_bill(judge, suites, exam.decoding.max_new_tokens), count) for suites, count in rounds]
        parts = [bill.times(count) for bill, count in bills if bill is not None]
        if parts:
            found[judge.name] = sum(parts[1:], parts[0])
    return found


def _bill(judge: Paid, suites: Sequence[Suite], limit: int) -> Bill | None:
    answer = "x" * int(limit * CHARACTERS_PER_TOKEN)
    asked = [(suite, question) for suite in suites for question in _questions(suite, answer)]
    questions = [question for _, question in asked if question.role.hit in decides(judge)]  # type: ignore[arg-type]
    plain = [question for suite, question in asked if is_compared(suite.role, suite.name)]
    both = [Pair(question.role, question.prompt, answer, answer + side) for question in plain for side in ("y", "z")]
    return judge.bill(questions, both)


def _questions(suite: Suite, answer: str) -> list[Question]:
    rows, attack = suite.prompts(), suite.attack
    return [Question(ROLES[suite.role], rows[place], asked, answer) for place, asked in _cases(attack, suite, rows)]


def _cases(attack: Attack, suite: Suite, rows: Sequence) -> list[tuple[int, Conversation]]:
    if attack.needs_model:  # how many it will ask in the end is its own affair; once each at least
        return [(place, row.prompt) for place, row in enumerate(rows)]
    return [(case.place, case.asked) for case in attack.cases(rows, Counting(None))]
