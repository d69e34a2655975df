"""Asking a model everything as a stage: generated once, read by any number of judges."""

import itertools
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from raysafe.artifacts import OFF_KEY, write_json
from raysafe.context import Context
from raysafe.data.references import ModelRef
from raysafe.evaluation.answering import Answers, Decoding, ask, generator
from raysafe.evaluation.attacks import Victim
from raysafe.evaluation.suites import Suite
from raysafe.models.loading import freeze, load_model
from raysafe.stages.base import Made
from raysafe.training.workplace import Workplace

SUITES = "suites.json"


@dataclass(frozen=True)
class AnswersResult:
    """How many answers there are."""

    answers: int


@dataclass(frozen=True)
class AnswersStage:
    """A model's answers to the suites: `answers.jsonl`, `prompts.jsonl`, what was asked, and `suites.json`, how. `shared`: they
    are the reference model's, which trials are compared with."""

    kind: ClassVar[str] = "answers"
    Result: ClassVar[type[AnswersResult]] = AnswersResult
    model: ModelRef
    suites: tuple[Suite, ...]
    decoding: Decoding
    shared: bool = field(default=False, metadata=OFF_KEY)

    @property
    def label(self) -> str:
        return "reference answers" if self.shared else "answers"

    def run(self, place: Workplace) -> AnswersResult:
        """Load the model and ask it."""
        context, chat = numbered(place.context), self.model.chat()
        model = freeze(load_model(self.model.folder, self.decoding.dtype)).to(context.device)
        victim = Victim(model, chat, generator(model, chat, self.decoding, context), context, place.workspace, place.folder)
        answers = ask(self.suites, victim, generator(model, chat, self.decoding, context, place.workspace))
        if context.rank == 0:
            answers.save(place.folder)
            write_json(place.folder / SUITES, [suite.told() | {"decoding": self.decoding.told()} for suite in self.suites])
        return AnswersResult(len(answers.rows))


def numbered(context: Context) -> Context:
    """The context with what attacks tell of their progress numbered from 1, whichever of them tells it."""
    steps = itertools.count(1)
    return replace(context, report_row=lambda step, metrics: context.report_row(next(steps), metrics))


@dataclass(frozen=True)
class AnswersRef:
    """Stored answers: their stage's key, and its folder."""

    key: str
    folder: str = field(metadata=OFF_KEY)

    @staticmethod
    def of(made: Made[Any]) -> "AnswersRef":
        """A stage's."""
        return AnswersRef(made.artifact.key, str(made.artifact.folder))

    def load(self) -> Answers:
        """The answers, and the prompts behind them."""
        return Answers.load(self.folder)
