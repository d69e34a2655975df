"""A model's answers against another's to the same prompts, pair by pair: what win rates are made of."""

from collections.abc import Sequence
from dataclasses import dataclass

from raysafe.context import Context
from raysafe.evaluation.answering import Answer, Answers
from raysafe.evaluation.judges import Judge, Pair
from raysafe.evaluation.roles import ROLES
from raysafe.evaluation.sharing import shared_out
from raysafe.evaluation.suites import is_compared


@dataclass(frozen=True)
class Comparison:
    """One answer beside the reference's. `there`: the judge's preference with ours first, `back`: for the reference's with that
    first. `length`, `reference_length`: characters of the two answers."""

    suite: str
    role: str
    source: str
    index: int
    content_hash: str
    there: float
    back: float
    length: int
    reference_length: int

    @property
    def preference(self) -> float:
        """For our answer, 0 to 1: the mean over both orders."""
        return (self.there + 1.0 - self.back) / 2


def compare(answers: Answers, reference: Answers, judge: Judge, context: Context) -> list[Comparison]:
    """Every prompt of every role that both were asked plainly, judged in both orders; every rank calls it.

    Pairs are matched by suite and the prompt's content. Those that the judge can't compare are left out.
    """
    theirs = {(row.suite, row.content_hash): row.answer for row in reference.rows if is_compared(row.role, row.suite)}
    ours = [row for row in answers.rows if is_compared(row.role, row.suite) and (row.suite, row.content_hash) in theirs]
    forward = [Pair(ROLES[row.role], answers.prompt_of(row), row.answer, theirs[row.suite, row.content_hash]) for row in ours]
    backward = [Pair(pair.role, pair.prompt, pair.second, pair.first) for pair in forward]
    preferred = shared_out([*forward, *backward], judge.prefer, context)
    there, back = preferred[: len(ours)], preferred[len(ours) :]
    found = [_comparison(*one) for one in zip(ours, forward, there, back, strict=True)]
    return [one for one in found if one is not None]


def _comparison(row: Answer, pair: Pair, there: float | None, back: float | None) -> Comparison | None:
    if there is None or back is None:
        return None
    lengths = len(pair.first), len(pair.second)
    return Comparison(row.suite, row.role, row.source, row.index, row.content_hash, there, back, *lengths)


def preferences(comparisons: Sequence[Comparison]) -> dict[int, float]:
    """The preference for our answer by the number of the pair."""
    return {place: one.preference for place, one in enumerate(comparisons)}
