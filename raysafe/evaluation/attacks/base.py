"""What an attack is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from raysafe.data.chat import ChatFormat
from raysafe.data.records import Conversation, EvalPrompt


@dataclass(frozen=True)
class Case:
    """One question to the model: prompt number `place` of those given, the conversation that is asked (it ends with a user
    turn), the token ids to continue, and the ids among them that were put into the model's mouth (judged with its
    continuation). `variant` names one of several strengths."""

    place: int
    asked: Conversation
    input_ids: tuple[int, ...]
    prefilled: tuple[int, ...] = ()
    variant: str = ""


def case(place: int, asked: Conversation, chat: ChatFormat, prefilled: Sequence[int] = (), variant: str = "") -> Case:
    """The case that asks a conversation, with the beginning of the answer given in token ids."""
    return Case(place, asked, (*chat.prompt_ids(asked), *prefilled), tuple(prefilled), variant)


@runtime_checkable
class Attack(Protocol):
    """A frozen dataclass: its fields are its settings. Its success rate is averaged over variants first.

    A conversation may be written beforehand: then `cases` gives it whole, and its last turn is answered and judged. Or it
    may depend on what the model says: then `cases` gives the first turn and `go_on` every further one.
    """

    name: ClassVar[str]
    needs_harmful: ClassVar[bool] = False
    """Whether it can do nothing with prompts that have no `harmful` answer."""

    def cases(self, prompts: Sequence[EvalPrompt], chat: ChatFormat) -> list[Case]:
        """What to ask; a prompt that lacks what the attack needs is left out."""
        ...

    def go_on(self, asked: Case, answer: str, chat: ChatFormat) -> Case | None:
        """The next turn after an answer, of the same `place` and `variant`; None if the answer was the last, which is judged."""
        return None
