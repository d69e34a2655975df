"""Prompts that others have searched for: GCG's, AutoDAN's, or whatever stands in HarmBench's layout (arXiv:2402.04249)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from raysafe.artifacts import OFF_KEY
from raysafe.data.chat import ChatFormat
from raysafe.data.records import EvalPrompt
from raysafe.data.references import DataRef
from raysafe.data.scripts import Behaviors, scripts_ref
from raysafe.errors import require
from raysafe.evaluation.attacks.base import Attack, Case, replayed


@dataclass(frozen=True)
class Suffix(Attack):
    """Replays a file of test cases; a variant for each number of a case, where an objective has several."""

    name: ClassVar[str] = "suffix"
    needs_scripts: ClassVar[bool] = True

    file: str = field(metadata=OFF_KEY)
    """The test cases: a JSON object `{objective or BehaviorID: [prompt, ...]}`."""
    behaviors: str | None = field(default=None, metadata=OFF_KEY)
    """The table of behaviours that its keys are the IDs of; where it is left out, that of `evaluation.harmful` may know them."""
    max_cases: int | None = None
    """Only the first so many test cases of each objective."""

    def __post_init__(self) -> None:
        require(self.max_cases is None or self.max_cases > 0, "max_cases > 0", self.max_cases)

    def brings(self, harmful: DataRef | None) -> DataRef | None:
        """The test cases, with the behaviours that they are for."""
        if self.behaviors is not None:
            return scripts_ref(self.file, Behaviors(str(Path(self.behaviors).absolute()), required=True))
        return scripts_ref(self.file, Behaviors(harmful.path) if harmful is not None else None)

    def cases(self, prompts: Sequence[EvalPrompt], chat: ChatFormat) -> list[Case]:
        """Every test case as it is."""
        return replayed([row.scripts[: self.max_cases] for row in prompts], chat)
