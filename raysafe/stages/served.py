"""Asking a served model everything as a stage: the same files as any model's answers."""

from dataclasses import dataclass
from typing import ClassVar

from raysafe.evaluation.answering import ask
from raysafe.evaluation.attacks import Victim
from raysafe.evaluation.served import ServedModel
from raysafe.evaluation.suites import Suite
from raysafe.stages.answers import AnswersResult
from raysafe.training.workplace import Workplace


@dataclass(frozen=True)
class ServedAnswersStage:
    """A served model's answers to the suites. How it decodes is in the settings of its endpoint."""

    kind: ClassVar[str] = "answers"
    label: ClassVar[str] = "answers"
    shared: ClassVar[bool] = False
    Result: ClassVar[type[AnswersResult]] = AnswersResult
    served: ServedModel
    suites: tuple[Suite, ...]

    def run(self, place: Workplace) -> AnswersResult:
        """Ask it; what has been answered stays with the endpoint's replies, so that another attempt goes on from there."""
        context, chat = place.context, self.served.chat()
        generate = self.served.generator(chat, self.served.endpoint.max_tokens, context)
        answers = ask(self.suites, Victim(None, chat, generate, context, place.workspace, place.folder))
        if context.rank == 0:
            answers.save(place.folder)
        return AnswersResult(len(answers.rows))
