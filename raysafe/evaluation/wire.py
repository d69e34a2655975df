"""One attempt at a served model: the only file that imports `openai`. Its exceptions end here, and nothing here shows a key."""

import json
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, Self

from raysafe.config.endpoints import EndpointSettings
from raysafe.data.records import Conversation
from raysafe.errors import ConfigError

SHOWN = 200
"""Characters of a server's own words in an error."""
_GONE = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
"""What a 429 may say that no wait mends."""
_FOR_NOW = frozenset({408, 409, 425, 429})
_OF_THE_TEXT = frozenset({400, 413, 422})


@dataclass(frozen=True)
class Request:
    """What is asked: a conversation, or a text's token ids to go on from."""

    messages: Conversation = ()
    ids: tuple[int, ...] = ()

    @property
    def plain(self) -> dict[str, Any]:
        """As the server's fields have it."""
        if self.ids:
            return {"prompt": list(self.ids)}
        return {"messages": [{"role": turn.role, "content": turn.content} for turn in self.messages]}

    @property
    def most_tokens(self) -> int:
        """More than it can be: a token is a byte at least, and a template puts a few around each turn."""
        return len(self.ids) or 16 + sum(16 + len(turn.content.encode()) for turn in self.messages)

    @property
    def likely_tokens(self) -> float:
        """About what it is: four characters a token."""
        return len(self.ids) or 8 + sum(4 + len(turn.content) / 4 for turn in self.messages)


@dataclass(frozen=True)
class Reply:
    """A text. `finish`: why it ends (`length` where it was cut). Tokens as the server counts them, None where it doesn't."""

    text: str
    finish: str
    prompt_tokens: int | None = None
    reply_tokens: int | None = None


@dataclass(frozen=True)
class Fault:
    """No reply. `again`: another attempt may help, not before `after` seconds where the server says so. `of_the_text`: it is this
    request alone that the server won't take. `billed`: it may have cost something, as the model may have been at work."""

    message: str
    again: bool = False
    of_the_text: bool = False
    billed: bool = False
    after: float | None = None


class Wire:
    """A connection to a served model, for several threads. Each call of `ask` is one attempt: waiting, counting and paying are
    the caller's, who must see every single one."""

    def __init__(self, settings: EndpointSettings) -> None:
        self.settings = settings
        self._stack = ExitStack()
        self._key = key_of(settings)

    def __enter__(self) -> Self:
        openai = library()
        # told everything, so that it takes nothing from the environment: no key, organisation or address meant for another server
        self._client = self._stack.enter_context(
            openai.OpenAI(
                api_key=self._key or "none",
                organization="",
                project="",
                base_url=self.settings.base_url,
                timeout=self.settings.timeout_s,
                max_retries=0,
                http_client=openai.DefaultHttpxClient(trust_env=not self.settings.local, follow_redirects=False),
            )
        )
        self._headers = dict.fromkeys(("OpenAI-Organization", "OpenAI-Project"), openai.omit)
        if not self._key:
            self._headers["Authorization"] = openai.omit
        return self

    def __exit__(self, *problem: object) -> None:
        self._stack.close()

    def ask(self, request: Request, limit: int) -> Reply | Fault:
        """One attempt at a reply of at most `limit` tokens."""
        openai, what = library(), self._client.completions if request.ids else self._client.chat.completions
        body = body_of(self.settings, request, limit)
        asked = {name: body.pop(name) for name in ("model", "prompt", "messages") if name in body}
        try:
            raw = what.with_raw_response.create(**asked, extra_body=body, extra_headers=self._headers)
            return read_reply(raw.text)
        except openai.APIStatusError as error:
            return self._refused(error.status_code, error.response.headers, error.body)
        except openai.APITimeoutError:
            return Fault(f"no reply in {self.settings.timeout_s:g} s", again=True, billed=True)
        except openai.APIConnectionError as error:
            begun = not type(error.__cause__).__name__.startswith("Connect")
            why = "the connection broke off" if begun else "nobody answers there"
            return Fault(f"{why} ({type(error.__cause__).__name__})", again=True, billed=begun)
        except (openai.OpenAIError, ValueError, TypeError) as error:
            return Fault(f"an unreadable response ({type(error).__name__})", again=True, billed=True)

    def _refused(self, status: int, headers: Mapping[str, str], body: Any) -> Fault:
        said = self._words(body)
        if status in (401, 403):  # its own words often hold a part of the key
            given = "the key in it is not accepted" if self._key else "name the environment variable of a key there"
            return Fault(f"HTTP {status}: `key_env`: {given}")
        gone = isinstance(body, Mapping) and bool(_GONE & {body.get("code"), body.get("type")})
        again = not gone and (status in _FOR_NOW or status >= 500)
        return Fault(f"HTTP {status}{said}", again, status in _OF_THE_TEXT, after=retry_after(headers) if again else None)

    def _words(self, body: Any) -> str:
        said = body.get("message") if isinstance(body, Mapping) else body
        text = " ".join(str(said or "").split())
        text = text.replace(self._key, "[key]") if self._key else text
        return f": {text[:SHOWN]}" if text else ""


def library() -> Any:
    """The client library. Raises ConfigError where it isn't installed."""
    try:
        import openai
    except ImportError as error:
        raise ConfigError("A served model is asked with the `openai` library: pip install 'raysafe[openai]'.") from error
    return openai


def key_of(settings: EndpointSettings) -> str:
    """The key, from the environment of this process. Raises ConfigError where the variable isn't set."""
    if not settings.key_env:
        return ""
    key = os.environ.get(settings.key_env, "").strip()
    if not key:
        name = f"${settings.key_env}" if "KEY" in settings.key_env.upper() else "the variable that it names"
        raise ConfigError(
            f"`key_env`: {name} is not set here. Export it where raysafe is started, and on a cluster on every node before "
            "`ray start`."
        )
    return key


def body_of(settings: EndpointSettings, request: Request, limit: int) -> dict[str, Any]:
    """The fields of a request."""
    drawn = {"temperature": settings.temperature, "seed": settings.seed}
    kept = {name: value for name, value in drawn.items() if value is not None}
    return {"model": settings.model, **request.plain, settings.limit_key: limit, **kept, **settings.body}


def read_reply(text: str) -> Reply | Fault:
    """The first choice of a response's JSON."""
    try:
        whole = json.loads(text)
        usage = whole.get("usage") or {}
        counted = [_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens")]
        if not whole["choices"]:
            return Fault("a response without a choice", again=True, billed=True)
        choice = whole["choices"][0]
        message = choice.get("message", choice)
        said = message.get("content", message.get("text"))
        if said is None:
            said = message.get("refusal") or ""
        if not isinstance(said, str):
            raise TypeError(type(said).__name__)
        return Reply(said, str(choice.get("finish_reason") or ""), *counted)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return Fault("a response that is not what the interface says", again=True, billed=True)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server wants us to stay away: `Retry-After` in seconds or as a date, or OpenAI's in milliseconds."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        with suppress(ValueError):
            seconds = float(headers.get(name, "")) * unit
            return max(0.0, seconds) if isfinite(seconds) else None
    with suppress(ValueError):
        return max(0.0, parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - time.time())
    return None
