"""What an attack is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from raysafe.context import Context
from raysafe.data.chat import ChatFormat
from raysafe.data.records import Conversation, EvalPrompt
from raysafe.models.generation import Generate


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


@dataclass(frozen=True)
class Victim:
    """Who is attacked. `model`: in evaluation mode and without gradients, None where answers are all that can be had of it;
    `generate` is its greedy answers. `workspace`: what an attack keeps there a second attempt goes on from; `folder`: rank 0
    may leave files there, beside the answers. Both None where nothing is kept."""

    model: Any
    chat: ChatFormat
    generate: Generate
    context: Context
    workspace: Path | None = None
    folder: Path | None = None


@runtime_checkable
class Attack(Protocol):
    """A frozen dataclass: its fields are its settings. Its success rate is averaged over variants first.

    A conversation may be written beforehand: then `cases` gives it whole, and its last turn is answered and judged. Or it
    may depend on what the model says: then `cases` gives the first turn and `go_on` every further one.
    """

    name: ClassVar[str]
    needs_harmful: ClassVar[bool] = False
    """Whether it can do nothing with prompts that have no `harmful` answer."""
    needs_model: ClassVar[bool] = False
    """Whether it reads more of the model than its answers."""
    needs_tokens: ClassVar[bool] = False
    """Whether it begins the model's answer, in token ids; a model that is served in words alone can't be tried with it."""
    counts: ClassVar[bool] = True
    """Whether its success rate goes into the safety score."""
    each_epoch: ClassVar[bool] = True
    """Whether it is also tried after each training epoch."""

    def found(self) -> Self:
        """The attack, once what its settings name outside of them is found to be there: files, folders, packages. What decides
        about its answers goes into fields of its own (`init=False`), as a fingerprint; where it lies is off the key.

        Raises ConfigError or DataError naming the setting. Called for every trial: what takes time is remembered by `stamp`.
        """
        return self

    def cases(self, prompts: Sequence[EvalPrompt], chat: ChatFormat) -> list[Case]:
        """What to ask; a prompt that lacks what the attack needs is left out."""
        return []

    def play(self, prompts: Sequence[EvalPrompt], victim: Victim) -> list[tuple[Case, str]]:
        """What was asked in the end, and the answers (with what was prefilled). Every rank calls it and gets all of them."""
        return []

    def go_on(self, asked: Case, answer: str, chat: ChatFormat) -> Case | None:
        """The next turn after an answer, of the same `place` and `variant`; None if the answer was the last, which is judged."""
        return None
