"""What requests to a served judge come to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from raysafe.config.endpoints import EndpointSettings
from raysafe.evaluation.wire import Request

CHARACTERS_PER_TOKEN = 4.0


@dataclass(frozen=True)
class Bill:
    """`requests`, the tokens of their prompts by characters, those of replies by their limit, and what they cost by the prices of
    `endpoint`; 0 without any."""

    endpoint: EndpointSettings
    requests: int
    prompt_tokens: float

    @property
    def reply_tokens(self) -> int:
        """At most."""
        return self.requests * self.endpoint.max_tokens

    @property
    def cost(self) -> float:
        """By the prices."""
        return self.endpoint.cost(self.prompt_tokens, self.reply_tokens)

    def times(self, count: int) -> "Bill":
        """So many of them."""
        return replace(self, requests=count * self.requests, prompt_tokens=count * self.prompt_tokens)

    def __add__(self, other: "Bill") -> "Bill":
        return replace(self, requests=self.requests + other.requests, prompt_tokens=self.prompt_tokens + other.prompt_tokens)

    def line(self, judge: str) -> str:
        """For people."""
        end = self.endpoint
        text = f"judge {judge}, {end.account}: about {self.requests:,} requests of {self.prompt_tokens:,.0f} tokens and "
        text += f"{self.reply_tokens:,} of replies at most"
        if end.input_price is None or end.output_price is None:
            return f"{text}; without input_price and output_price nobody knows what they cost"
        return f"{text}: {self.cost:,.2f} by its prices" + (f", stopped at {end.max_cost:g}" if end.max_cost else "")


def bill_of(endpoint: EndpointSettings, requests: Sequence[Request]) -> Bill:
    """Of requests that have not been made."""
    return Bill(endpoint, len(requests), sum(request.likely_tokens for request in requests))
