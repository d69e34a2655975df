"""Who completes texts for a judge that asks in words: a local model (`judges/local.py`) or an endpoint (`endpoint.py`)."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from raysafe.data.records import Conversation


@runtime_checkable
class Completer(Protocol):
    """A back end for judges that ask in words."""

    def complete(self, prompts: Sequence[str | Conversation]) -> list[str]:
        """A reply to every prompt, in order; a text is one user turn. Which model, how long a reply may be and how it is drawn
        are settings of whoever implements this. Raises an error of `raysafe.errors` where a reply can't be had at all."""
        ...
