"""The first tokens of a harmful answer, put after the assistant header (arXiv:2406.05946)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from raysafe.data.chat import ChatFormat
from raysafe.data.records import EvalPrompt
from raysafe.errors import require
from raysafe.evaluation.attacks.base import Attack, Case, case


@dataclass(frozen=True)
class Prefill(Attack):
    """One variant for each number k of prefilled tokens."""

    name: ClassVar[str] = "prefill"
    needs_harmful: ClassVar[bool] = True
    needs_tokens: ClassVar[bool] = True

    tokens: tuple[int, ...] = (3, 4, 5, 7, 10, 15, 20, 25)
    """The k's: tokens of the harmful answer that the model finds as its own."""

    def __post_init__(self) -> None:
        require(len(self.tokens) > 0 and all(k > 0 for k in self.tokens), "tokens are all > 0", self.tokens)

    def cases(self, prompts: Sequence[EvalPrompt], chat: ChatFormat) -> list[Case]:
        """A case for each k and each prompt whose harmful answer is longer than k tokens; what the template puts before an answer
        comes before them."""
        turns = [(place, chat.turn(row.prompt, row.harmful)) for place, row in enumerate(prompts) if row.harmful]
        return [
            case(place, prompts[place].prompt, chat, (*turn.opening, *turn.answer[:k]), str(k))
            for k in self.tokens
            for place, turn in turns
            if len(turn.answer) > k
        ]
