"""Attacking and scoring a model as a stage."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from raysafe.artifacts import OFF_KEY, write_json
from raysafe.config.sections import EvaluationSettings
from raysafe.context import Context
from raysafe.data.chat import ChatFormat
from raysafe.data.records import EvalPrompt
from raysafe.data.references import DataRef, ModelRef
from raysafe.evaluation import ATTACKS, JUDGES
from raysafe.evaluation.generating import generator
from raysafe.evaluation.score import Answer, Scores, evaluate
from raysafe.models.loading import freeze, load_model


@dataclass(frozen=True)
class EvaluationPlan:
    """What a model is scored on and how."""

    settings: EvaluationSettings
    suites: Mapping[str, DataRef]
    reference: ModelRef | None = None
    reference_folder: str | None = field(default=None, metadata=OFF_KEY)

    def scores(self, model: Any, chat: ChatFormat, context: Context, limit: int | None) -> Scores:
        """Attack and score; at most `limit` prompts of each suite."""
        suites: dict[Any, list[EvalPrompt]] = {name: data.prompts()[:limit] for name, data in self.suites.items()}
        attacks = [ATTACKS[name](**_tuples(fields)) for name, fields in self.settings.attacks.items()]
        reference = load_answers(self.reference_folder) if self.reference_folder else None
        generate = generator(model, chat, self.settings, context)
        return evaluate(generate, chat, suites, attacks, JUDGES[self.settings.judge](), reference)


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


@lru_cache(maxsize=4)
def load_answers(folder: str) -> tuple[Answer, ...]:
    """The answers that an EvaluateStage wrote."""
    return tuple(Answer(**row) for row in json.loads((Path(folder) / "answers.json").read_text(encoding="utf-8")))


@dataclass(frozen=True)
class EvaluateStage:
    """Attack and score a checkpoint: `scores.json`, `answers.json`."""

    kind: ClassVar[str] = "evaluate"
    model: ModelRef
    plan: EvaluationPlan

    @property
    def label(self) -> str:
        return "reference" if self.shared else "evaluate"

    @property
    def shared(self) -> bool:
        return self.plan.reference is None

    def run(self, context: Context, folder: Path, workspace: Path) -> dict[str, Any]:
        model = freeze(load_model(self.model.folder)).to(context.device)
        scores = self.plan.scores(model, self.model.chat(), context, self.plan.settings.max_prompts)
        if context.rank == 0:
            write_json(folder / "scores.json", scores.plain())
            write_json(folder / "answers.json", [asdict(answer) for answer in scores.answers])
        context.report(1, {f"eval/{name}": value for name, value in scores.flat().items()})
        return {"metrics": scores.plain(), "judge": self.plan.settings.judge}
