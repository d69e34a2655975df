"""A model behind an OpenAI-compatible server, asked with the user's own templates."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

from raysafe.artifacts import OFF_KEY, with_own
from raysafe.config.endpoints import EndpointSettings
from raysafe.context import Context
from raysafe.data.records import Conversation
from raysafe.errors import require
from raysafe.evaluation.endpoint import Endpoint, request_of
from raysafe.evaluation.judges.asks import Ask, PairAsk, Words
from raysafe.evaluation.judges.base import Pair, Question, Verdict
from raysafe.evaluation.judges.bill import Bill, bill_of
from raysafe.evaluation.roles import Hit
from raysafe.evaluation.wire import key_of, library


@dataclass(frozen=True)
class Openai:
    """One question an answer, each put by a template and read by words, a pattern or a scale.

    It is asked about what it has a template for and nothing else; an empty answer is shown to nobody. In the key of its verdicts
    are the templates' contents, how replies are read, and of the endpoint the model's name, host, revision and what is sent
    (`EndpointSettings` says why the host is).
    """

    name: ClassVar[str] = "openai"
    version: ClassVar[str] = "1"

    endpoint: EndpointSettings
    complied: Ask | None = None
    """Whether an answer to a harmful prompt helped."""
    refused: Ask | None = None
    """Whether an answer declined."""
    right: Ask | None = None
    """Whether an answer agrees with the reference."""
    pairs: PairAsk | None = None
    """Which of two answers is better, for win rates."""
    kept: Path | None = field(init=False, default=None, metadata=OFF_KEY)

    def __post_init__(self) -> None:
        require(bool(self.decides), "one of complied, refused and right has a template", "none")

    @property
    def decides(self) -> frozenset[Hit]:
        """What it has a template for."""
        return frozenset(self._asks())

    def found(self) -> Self:
        """With its templates read, the key in the environment and the client installed."""
        library(), key_of(self.endpoint)
        asks: dict[str, Words] = {str(hit): ask for hit, ask in self._asks().items()}
        asks |= {"pairs": self.pairs} if self.pairs is not None else {}
        return with_own(self, **{name: ask.found(f"openai.{name}") for name, ask in asks.items()})

    def placed(self, context: Context) -> Self:
        """With the worker's folder for replies that were paid for."""
        return with_own(self, kept=context.kept)

    def judge(self, questions: Sequence[Question]) -> list[Verdict | None]:
        """By the server's replies, each of which is kept; None where nothing can be read out of one."""
        asks, verdicts = self._asks(), [Verdict(False) if _plain(question) else None for question in questions]
        shown = [place for place, verdict in enumerate(verdicts) if verdict is None]
        replies = self._said([asks[questions[place].role.hit].prompt(questions[place]) for place in shown])
        for place, reply in zip(shown, replies, strict=True):
            hit = questions[place].role.hit
            verdicts[place] = asks[hit].verdict(reply, hit)
        return verdicts

    def prefer(self, pairs: Sequence[Pair]) -> list[float | None]:
        """By the server's replies; None for all without a template for pairs."""
        ask = self.pairs
        if ask is None:
            return [None] * len(pairs)
        return [ask.preferred(reply) for reply in self._said([ask.prompt(pair) for pair in pairs])]

    def bill(self, questions: Sequence[Question], pairs: Sequence[Pair]) -> Bill:
        """What it would ask the server."""
        asks, ask = self._asks(), self.pairs
        prompts = [asks[question.role.hit].prompt(question) for question in questions if not _plain(question)]
        prompts += [ask.prompt(pair) for pair in pairs] if ask is not None else []
        return bill_of(self.endpoint, [request_of(prompt) for prompt in prompts])

    def _asks(self) -> dict[Hit, Ask]:
        every: dict[Hit, Ask | None] = {"complied": self.complied, "refused": self.refused, "right": self.right}
        return {hit: ask for hit, ask in every.items() if ask is not None}

    def _said(self, prompts: Sequence[str | Conversation]) -> list[str]:
        return Endpoint(self.endpoint, self.kept).complete(prompts)


def _plain(question: Question) -> bool:
    """Whether it is no hit whatever anybody says: nothing was answered, or there is nothing that it could agree with."""
    return not question.answer.strip() or (question.role.hit == "right" and not question.prompt.reference)
