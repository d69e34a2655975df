"""What a configuration says of a served model: where it answers, how fast it may be asked, and what that may cost."""

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

from raysafe.artifacts import OFF_KEY
from raysafe.errors import require

LOOPBACK = "loopback"
_SECRET = re.compile(r"(api|access|private).?key|^key$|token$|secret|password|authorization|bearer|credential", re.IGNORECASE)
_KEY = re.compile(r"\b(sk|pk|hf|gsk|xai|Bearer)[-_ ][\w-]{8,}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OURS = ("model", "messages", "prompt", "temperature", "seed", "max_tokens", "max_completion_tokens", "stream", "n")


def looks_secret(name: str) -> bool:
    """Whether a key of that name holds what must stand in the environment alone, so that its value is shown nowhere."""
    return _SECRET.search(name.rpartition(".")[2]) is not None


def without_keys(text: str) -> str:
    """A text in which what has the form of a key is not shown."""
    return _KEY.sub("[key]", text)


@dataclass(frozen=True)
class EndpointSettings:
    """A model behind an OpenAI-compatible server.

    What a text depends on is in the key of whatever reads it: model, host, revision and what is sent. The host is, since anybody
    may serve a `judge`; scheme, port and path are not, and of a server on this machine nothing is, since the same weights come up
    on another port tomorrow. Which weights a name stands for nobody can see from outside: `revision` is for saying so.
    """

    model: str
    """The name that the server knows the model by."""
    base_url: str = field(metadata=OFF_KEY)
    """As `https://api.openai.com/v1`; without encryption only on this machine, or with `allow_http`."""
    key_env: str = field(default="", metadata=OFF_KEY)
    """The environment variable that holds the key; empty for a server that wants none."""
    revision: str = ""
    """Which weights are served under the name, in your words; another one is asked anew."""
    temperature: float | None = 0.0
    """null sends none, for models that refuse one."""
    seed: int | None = 0
    """null sends none."""
    max_tokens: int = 256
    """Tokens of a reply, at most."""
    limit_key: Literal["max_tokens", "max_completion_tokens"] = field(default="max_tokens", metadata=OFF_KEY)
    """What the server calls that limit."""
    body: dict[str, Any] = field(default_factory=dict)
    """Further fields of every request, as the server takes them."""
    concurrency: int = field(default=8, metadata=OFF_KEY)
    """Requests at once, for each worker."""
    requests_per_minute: float | None = field(default=None, metadata=OFF_KEY)
    """Of all workers that share the storage."""
    tokens_per_minute: float | None = field(default=None, metadata=OFF_KEY)
    """Of all workers that share the storage; a prompt's tokens by its characters, a reply's by `max_tokens`."""
    timeout_s: float = field(default=120.0, metadata=OFF_KEY)
    retries: int = field(default=6, metadata=OFF_KEY)
    """Further attempts at a request that failed for the moment."""
    backoff_s: float = field(default=1.0, metadata=OFF_KEY)
    """The wait before the second attempt; doubled each time up to a minute, less a random half. The server's `Retry-After` goes
    first."""
    input_price: float | None = field(default=None, metadata=OFF_KEY)
    """Of a million tokens of prompts."""
    output_price: float | None = field(default=None, metadata=OFF_KEY)
    """Of a million tokens of replies."""
    max_cost: float | None = field(default=None, metadata=OFF_KEY)
    """What this model of this host may have cost in a storage, all runs together; the next request that could exceed it is not
    sent."""
    allow_http: bool = field(default=False, metadata=OFF_KEY)
    """Whether texts, and the key, may go to another machine unencrypted."""
    host: str = field(init=False, default="")

    def __post_init__(self) -> None:
        self._check_url()
        _check_key_env(self.key_env)
        for name in self.body:
            require(not looks_secret(name), "body holds no key: keys are read from the environment variable `key_env`", "one")
            require(name not in _OURS, "body holds what has no setting of its own", name)
        for name in ("max_tokens", "concurrency", "timeout_s", "backoff_s"):
            require(getattr(self, name) > 0, f"{name} > 0", getattr(self, name))
        for name in ("requests_per_minute", "tokens_per_minute", "max_cost"):
            value = getattr(self, name)
            require(value is None or value > 0, f"{name} > 0", value)
        for name in ("retries", "temperature", "input_price", "output_price"):
            require((getattr(self, name) or 0) >= 0, f"{name} >= 0", getattr(self, name))
        priced = self.input_price is not None and self.output_price is not None
        require(self.max_cost is None or priced, "max_cost comes with input_price and output_price", self.max_cost)

    @property
    def account(self) -> str:
        """Whose limits and costs a request counts for."""
        return f"{self.model} at {self.host}"

    @property
    def local(self) -> bool:
        """Whether the server is on this machine."""
        return self.host == LOOPBACK

    def cost(self, prompt_tokens: float, reply_tokens: float) -> float:
        """By the prices; 0 without any."""
        return (prompt_tokens * (self.input_price or 0.0) + reply_tokens * (self.output_price or 0.0)) / 1e6

    def _check_url(self) -> None:
        """The address is in no message: it may hold a key."""
        url = _split(self.base_url)
        bare = url is not None and "@" not in url.netloc and not url.query and not url.fragment
        rule = "base_url is an address as https://HOST/v1, with no user, key, query or fragment in it"
        if url is None or not bare:
            raise ValueError(f"`{rule}` must hold, but got another (not shown, as it may hold a key)")
        host = str(url.hostname)
        object.__setattr__(self, "host", LOOPBACK if _is_loopback(host) else host)
        if url.scheme == "http" and not self.local and not self.allow_http:
            raise ValueError(
                f"base_url goes to {host} without encryption, which shows texts and keys on the way; take https, or set "
                "`allow_http: true` if the network is yours"
            )


def _split(text: str) -> SplitResult | None:
    """The address in its parts; None for what is none."""
    try:
        url = urlsplit(text)
        valid = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return None
    return url if valid else None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_key_env(name: str) -> None:
    if name and not _VARIABLE.fullmatch(name):
        raise ValueError(
            "key_env takes the name of an environment variable, but got something else (not shown, as it may be a key)"
        )
