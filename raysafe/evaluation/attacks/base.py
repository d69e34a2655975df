"""What an attack is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from raysafe.data.chat import ChatFormat
from raysafe.data.records import EvalPrompt


@dataclass(frozen=True)
class Case:
    """One question to the model: prompt number `place` of its file, the token ids to continue, and the ids among them
    that were put into the model's mouth (judged with its continuation). `variant` names one of several strengths."""

    place: int
    input_ids: tuple[int, ...]
    prefilled: tuple[int, ...] = ()
    variant: str = ""


@runtime_checkable
class Attack(Protocol):
    """A frozen dataclass: its fields are its settings. Its success rate is averaged over variants first."""

    name: ClassVar[str]

    def cases(self, prompts: Sequence[EvalPrompt], chat: ChatFormat) -> list[Case]:
        """What to ask; a prompt that lacks what the attack needs is left out."""
        ...
