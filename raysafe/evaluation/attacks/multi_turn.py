"""Conversations that lead up to a request, replayed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from raysafe.artifacts import OFF_KEY
from raysafe.data.chat import ChatFormat
from raysafe.data.records import EvalPrompt
from raysafe.data.references import DataRef
from raysafe.data.scripts import scripts_ref
from raysafe.evaluation.attacks.base import Attack, Case, replayed


@dataclass(frozen=True)
class MultiTurn(Attack):
    """The last turn is answered and judged by the objective. Answers that are written stay; where one user turn follows another,
    the model's own answer stands between."""

    name: ClassVar[str] = "multi_turn"
    needs_scripts: ClassVar[bool] = True

    file: str | None = field(default=None, metadata=OFF_KEY)
    """Rows of `objective` and `conversation`; where it is left out, `evaluation.harmful` has such rows."""

    def brings(self, harmful: DataRef | None) -> DataRef | None:
        """The conversations of the file."""
        return scripts_ref(self.file) if self.file is not None else None

    def cases(self, prompts: Sequence[EvalPrompt], chat: ChatFormat) -> list[Case]:
        """Every conversation, from its beginning."""
        return replayed([row.scripts for row in prompts], chat)
