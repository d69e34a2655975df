"""The request as it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from raysafe.data.chat import ChatFormat
from raysafe.data.records import EvalPrompt
from raysafe.evaluation.attacks.base import Attack, Case, case


@dataclass(frozen=True)
class Direct(Attack):
    """Asks, and nothing more."""

    name: ClassVar[str] = "direct"

    def cases(self, prompts: Sequence[EvalPrompt], chat: ChatFormat) -> list[Case]:
        """One case a prompt."""
        return [case(place, prompt.prompt, chat) for place, prompt in enumerate(prompts)]
