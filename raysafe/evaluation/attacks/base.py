"""What an attack is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from raysafe.context import Context
from raysafe.data.chat import ChatFormat
from raysafe.data.records import Conversation, EvalPrompt, Message
from raysafe.data.references import DataRef
from raysafe.evaluation.metrics import Rate
from raysafe.models.generation import Generate


@dataclass(frozen=True)
class Case:
    """One question to the model: prompt number `place` of those given, the conversation that is asked (it ends with a user
    turn), the token ids to continue, and the ids among them that were put into the model's mouth (judged with its
    continuation). `variant` names one of several strengths; `rest` is what is still to be said after the answer."""

    place: int
    asked: Conversation
    input_ids: tuple[int, ...]
    prefilled: tuple[int, ...] = ()
    variant: str = ""
    rest: Conversation = ()


def case(place: int, asked: Conversation, chat: ChatFormat, prefilled: Sequence[int] = (), variant: str = "") -> Case:
    """The case that asks a conversation, with the beginning of the answer given in token ids."""
    return Case(place, asked, (*chat.prompt_ids(asked), *prefilled), tuple(prefilled), variant)


def scripted(place: int, script: Conversation, chat: ChatFormat, variant: str = "") -> Case:
    """The case that begins a conversation written beforehand: as far as it goes without an answer of the model's own."""
    end = _first_gap(script)
    return replace(case(place, script[:end], chat, variant=variant), rest=script[end:])


def _first_gap(script: Conversation) -> int:
    gaps = (turn for turn in range(1, len(script)) if script[turn - 1].role == script[turn].role == "user")
    return next(gaps, len(script))


def replayed(scripts: Sequence[Sequence[Conversation]], chat: ChatFormat) -> list[Case]:
    """The cases that begin each prompt's scripts; their number is the variant, counted from 1, where a prompt has several."""
    several = any(len(own) > 1 for own in scripts)
    numbered = [(place, number, script) for place, own in enumerate(scripts) for number, script in enumerate(own, start=1)]
    return [scripted(place, script, chat, str(number) if several else "") for place, number, script in numbered]


@dataclass(frozen=True)
class Victim:
    """Who is attacked. `model`: in evaluation mode and without gradients, None where answers are all that can be had of it;
    `generate` is its greedy answers. `workspace`: what an attack keeps there a second attempt goes on from; `folder`: rank 0
    may leave files there, beside the answers; it names them by `suite`. Both None where nothing is kept."""

    model: Any
    chat: ChatFormat
    generate: Generate
    context: Context
    workspace: Path | None = None
    folder: Path | None = None
    suite: str = ""


@runtime_checkable
class Attack(Protocol):
    """A frozen dataclass: its fields are its settings. Its success rate is averaged over variants first.

    A conversation may be written beforehand (`scripted`): its last turn is answered and judged, the model's own answers stand
    where none are written. Or it may depend on what the model says: then `cases` gives the first turn and `go_on` every further
    one.
    """

    name: ClassVar[str]
    needs_harmful: ClassVar[bool] = False
    """Whether it can do nothing with prompts that have no `harmful` answer."""
    needs_scripts: ClassVar[bool] = False
    """Whether it can do nothing with prompts that have no `scripts`."""
    needs_model: ClassVar[bool] = False
    """Whether it reads more of the model than its answers."""
    needs_tokens: ClassVar[bool] = False
    """Whether it begins the model's answer, in token ids; a model that is served in words alone can't be tried with it."""
    counts: ClassVar[bool] = True
    """Whether its success rate goes into the safety score."""
    each_epoch: ClassVar[bool] = True
    """Whether it is also tried after each training epoch."""
    figures: ClassVar[tuple[str, ...]] = ()
    """Names of the figures that `measures` gives."""

    def found(self) -> Self:
        """The attack, once what its settings name outside of them is found to be there: files, folders, packages. What decides
        about its answers goes into fields of its own (`init=False`), as a fingerprint; where it lies is off the key.

        Raises ConfigError or DataError naming the setting. Called for every trial: what takes time is remembered by `stamp`.
        """
        return self

    def brings(self, harmful: DataRef | None) -> DataRef | None:
        """The file of its own that it is tried with, in place of the harmful prompts, which may say what its keys mean."""
        return None

    def check(self, prompts: Sequence[EvalPrompt]) -> None:
        """Raises DataError, before anything starts, if it can't be tried with these prompts."""
        return

    def cases(self, prompts: Sequence[EvalPrompt], chat: ChatFormat) -> list[Case]:
        """What to ask; a prompt that lacks what the attack needs is left out."""
        return []

    def play(self, prompts: Sequence[EvalPrompt], victim: Victim) -> list[tuple[Case, str]]:
        """What was asked in the end, and the answers (with what was prefilled). Every rank calls it and gets all of them."""
        return []

    def go_on(self, asked: Case, answer: str, chat: ChatFormat) -> Case | None:
        """The next turn after an answer, of the same `place` and `variant`; None if the answer was the last, which is judged."""
        if not asked.rest:
            return None
        end = _first_gap(asked.rest)
        turns = (*asked.asked, Message("assistant", answer), *asked.rest[:end])
        return replace(case(asked.place, turns, chat, variant=asked.variant), rest=asked.rest[end:])

    @classmethod
    def measures(cls, rates: Mapping[str, Rate]) -> dict[str, Rate]:
        """Figures of its own beside its success rates, made of these, by variant: of an attack that does not count for safety."""
        return {}
