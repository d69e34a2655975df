"""The request as it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from raysafe.data.chat import ChatFormat
from raysafe.data.records import EvalPrompt
from raysafe.evaluation.attacks.base import Case


@dataclass(frozen=True)
class Direct:
    """Asks, and nothing more."""

    name: ClassVar[str] = "direct"

    def cases(self, prompts: Sequence[EvalPrompt], chat: ChatFormat) -> list[Case]:
        """One case a prompt."""
        return [Case(place, tuple(chat.prompt_ids(prompt.prompt))) for place, prompt in enumerate(prompts)]
