"""Attacking and scoring a model as a stage."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from raysafe.artifacts import OFF_KEY, write_json
from raysafe.config.sections import EvaluationSettings
from raysafe.context import Context
from raysafe.data.chat import ChatFormat
from raysafe.data.references import DataRef, ModelRef
from raysafe.evaluation.answering import Answers, ask, generator
from raysafe.evaluation.exam import exam_of
from raysafe.evaluation.judging import Scores, score
from raysafe.evaluation.metrics import Rate
from raysafe.models.loading import freeze, load_model
from raysafe.training.workplace import Workplace


@dataclass(frozen=True)
class EvaluationPlan:
    """What a model is scored on and how."""

    settings: EvaluationSettings
    suites: Mapping[str, DataRef]
    reference: ModelRef | None = None
    reference_folder: str | None = field(default=None, metadata=OFF_KEY)

    def scores(self, model: Any, chat: ChatFormat, context: Context, limit: int | None) -> Scores:
        """Attack and score; at most `limit` prompts of each role."""
        return self.answered(model, chat, context, limit)[1]

    def answered(self, model: Any, chat: ChatFormat, context: Context, limit: int | None) -> tuple[Answers, Scores]:
        """The answers, and their scores."""
        exam = exam_of(self.settings, self.suites)
        suites = [suite.shortened(limit) for suite in exam.suites]
        answers = ask(suites, generator(model, chat, exam.decoding, context), chat)
        reference = Answers.load(self.reference_folder) if self.reference_folder else None
        return answers, score(answers, exam.judges[0], exam.attacks, reference, context)


@dataclass(frozen=True)
class EvaluateResult:
    """The scores, and who judged."""

    metrics: Mapping[str, Rate]
    judge: str | Mapping[str, Any]


@dataclass(frozen=True)
class EvaluateStage:
    """Attack and score a checkpoint: `scores.json`, `answers.jsonl`, `prompts.jsonl`."""

    kind: ClassVar[str] = "evaluate"
    Result: ClassVar[type[EvaluateResult]] = EvaluateResult
    model: ModelRef
    plan: EvaluationPlan

    @property
    def label(self) -> str:
        return "reference" if self.shared else "evaluate"

    @property
    def shared(self) -> bool:
        return self.plan.reference is None

    def run(self, place: Workplace) -> EvaluateResult:
        """Generate, judge and score."""
        context, folder = place.context, place.folder
        model = freeze(load_model(self.model.folder)).to(context.device)
        answers, scores = self.plan.answered(model, self.model.chat(), context, self.plan.settings.max_prompts)
        if context.rank == 0:
            write_json(folder / "scores.json", scores.plain())
            answers.save(folder)
        context.report(1, {f"eval/{name}": value for name, value in scores.flat().items()})
        return EvaluateResult(scores.metrics, self.plan.settings.judge)
