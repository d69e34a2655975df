"""Replies of a served model: asked at once as the settings allow, tried again where that may help, paid for once, capped.

The client library's own retries are off (`wire.py`): an attempt that nobody counts may be billed, and may break a rate limit or
the cap. So every attempt is claimed from the ledger (`completions.py`) first, and settled with what it cost.
"""

import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

from raysafe.config.endpoints import EndpointSettings
from raysafe.data.records import Conversation, Message
from raysafe.errors import StageError
from raysafe.evaluation.completions import Account, Bid, Capped, Completion, Completions, Wait, completion_key
from raysafe.evaluation.wire import Fault, Reply, Request, Wire, body_of

LONGEST_BACKOFF_S = 60.0
LONGEST_AWAY_S = 600.0
"""A server that wants us away for longer has to be asked another day."""
POLL_S = 0.05
"""How often a request is looked after that another worker makes."""
FIRST_REJECTED = 8
"""So many requests that the server won't take, before it has taken any, are no matter of single texts."""

EMPTY = "an empty text"
NONE = "none"
"""Why a kept reply ends that there never was: the server wouldn't take the request, or had nothing to say."""


@dataclass(frozen=True)
class Endpoint:
    """A served model, as one that completes texts (`Completer`).

    `kept`: the folder with the replies that were paid for; None keeps them for one call. `strict`: a request that the server
    won't take (as its filter may refuse a harmful text) is an error, and an empty text is a reply like any other; else both are
    told as empty texts, after as many attempts at a better one as the settings allow.
    """

    settings: EndpointSettings
    kept: Path | None = None
    strict: bool = False

    def complete(self, prompts: Sequence[str | Conversation]) -> list[str]:
        """A reply to every prompt, in order; a text is one user turn.

        Raises StageError where the server can't be had, refuses the key, or the next request could exceed the cap. What has been
        answered by then is kept: another run goes on from there, and pays nothing for it.
        """
        return self.texts([request_of(prompt) for prompt in prompts])

    def texts(self, requests: Sequence[Request], limit: int | None = None) -> list[str]:
        """A text for every request, in order, of at most `limit` tokens (or as the settings say). Raises as `complete`."""
        if self.kept is None:
            with TemporaryDirectory(prefix="raysafe-") as folder:
                return Endpoint(self.settings, Path(folder), self.strict).texts(requests, limit)
        limit = limit or self.settings.max_tokens
        keys = [self.key(request, limit) for request in requests]
        ledger = Completions(self.kept)
        there = {key: reply.text for key, reply in ledger.known(list(dict.fromkeys(keys))).items()}
        missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in there}
        if missing:
            with ledger, Wire(self.settings) as wire:
                there |= Errand(self, ledger, wire, limit).run(missing)
        return [there[key] for key in keys]

    def key(self, request: Request, limit: int) -> str:
        """What a reply goes by: the model, as the settings identify it, and all that is sent."""
        asked = self.settings
        sent = body_of(asked, request, limit)
        sent["limit"] = sent.pop(asked.limit_key, None)
        return completion_key([asked.host, asked.revision, sent])

    def account(self) -> Account:
        """What the model has cost in the folder."""
        assert self.kept is not None
        return Completions(self.kept).account(self.settings.account)


def request_of(prompt: str | Conversation) -> Request:
    """A conversation, or a text as its only turn."""
    return Request(messages=(Message("user", prompt),) if isinstance(prompt, str) else prompt)


class Stopped(Exception):
    """A request that isn't made, since the errand has come to an end."""


class CapReached(Exception):
    """The next request could cost more than is allowed."""


@dataclass
class Errand:
    """The requests of one call on their way, some at once. `accepted`: whether the server has taken any; `without`: why there is
    no text, by the key of the request."""

    endpoint: Endpoint
    ledger: Completions
    wire: Wire
    limit: int
    over: Event = field(default_factory=Event)
    accepted: bool = False
    without: dict[str, str] = field(default_factory=dict)

    def run(self, missing: Mapping[str, Request]) -> dict[str, str]:
        """A text by key. On the first error nothing more is sent; what is under way is kept when it comes."""
        settings = self.endpoint.settings
        with ThreadPoolExecutor(settings.concurrency, "raysafe endpoint") as pool:
            jobs = {key: pool.submit(self._until_over, key, request) for key, request in missing.items()}
            try:
                wait(jobs.values(), return_when=FIRST_EXCEPTION)
            except BaseException:
                self.over.set()
                raise
        problems = [error for job in jobs.values() if (error := job.exception()) is not None]
        done = {key: job.result() for key, job in jobs.items() if job.exception() is None}
        if len(self.without) == len(missing) and not self.accepted:
            problems.append(StageError(f"{next(iter(self.without.values()))}."))
        for problem in problems:
            if not isinstance(problem, Stopped):
                raise self._told(problem, len(missing), len(done.keys() - self.without.keys())) from None
        for key in self.without:
            self.ledger.keep(key, settings.account, Completion("", NONE))
        return done

    def _until_over(self, key: str, request: Request) -> str:
        """The reply to one request; what goes wrong with it ends the errand for all."""
        try:
            return self._text(key, request)
        except BaseException:
            self.over.set()
            raise

    def _told(self, problem: BaseException, asked: int, done: int) -> BaseException:
        """The error of the whole errand."""
        settings = self.endpoint.settings
        left = f"{asked - done} of {asked} requests have no reply yet; replies are kept, and another run goes on from there."
        if isinstance(problem, CapReached):
            spent = self.ledger.account(settings.account)
            return StageError(
                f"`max_cost`: {settings.account} may cost {settings.max_cost:g}; {spent.spent:.6g} is spent (on {spent.requests} "
                f"requests in {self.ledger.path.parent}), and the next request could exceed it. {left} Set `max_cost` higher."
            )
        return StageError(f"{settings.account}: {problem} {left}") if isinstance(problem, StageError) else problem

    def _text(self, key: str, request: Request) -> str:
        """The reply to one request, in as many attempts as the settings allow. Raises StageError without one."""
        settings, last = self.endpoint.settings, ""
        for attempt in range(settings.retries + 1):
            bid = self._bid(key, request)
            kept = self._claimed(bid)
            if kept is not None:
                return kept.text
            said = self._asked(bid, request)
            if isinstance(said, Completion):
                return said.text
            last = said.message
            if said.of_the_text:
                return self._rejection(key, last)
            if not said.again or (said.after or 0.0) > LONGEST_AWAY_S:
                later = f" It wants to be asked in {said.after:.0f} s." if said.after else ""
                raise StageError(f"{last}.{later}")
            if attempt < settings.retries:
                self._sleep(self._pause(attempt, said.after))
        if last == EMPTY:
            self.without[key] = last
            return ""
        raise StageError(f"{settings.retries + 1} attempts failed, the last one with: {last}.")

    def _bid(self, key: str, request: Request) -> Bid:
        settings = self.endpoint.settings
        most = settings.cost(request.most_tokens, self.limit)
        pace = [60.0 / settings.requests_per_minute] if settings.requests_per_minute else []
        if settings.tokens_per_minute:
            pace.append(60.0 * (request.likely_tokens + self.limit) / settings.tokens_per_minute)
        return Bid(key, settings.account, most, settings.max_cost, max(pace, default=0.0))

    def _claimed(self, bid: Bid) -> Completion | None:
        """Wait until the request is ours to make (None), or until another worker has the reply to it."""
        while True:
            if self.over.is_set():
                raise Stopped
            claim = self.ledger.claim(bid)
            if isinstance(claim, Completion):
                return claim
            if isinstance(claim, Capped):
                raise CapReached
            if not isinstance(claim, Wait):
                try:
                    self._sleep(claim.start - time.time())
                except Stopped:
                    self.ledger.settle(bid, 0.0)
                    raise
                return None
            self._sleep(POLL_S)

    def _asked(self, bid: Bid, request: Request) -> Completion | Fault:
        """One attempt, settled with what it cost: by the server's count of tokens, or the most it can be where there is none."""
        settings, outcome = self.endpoint.settings, None
        try:
            outcome = self.wire.ask(request, self.limit)
        finally:
            if outcome is None:
                self.ledger.settle(bid, bid.most)
        if isinstance(outcome, Fault):
            self.ledger.settle(bid, bid.most if outcome.billed else 0.0)
            if outcome.after:
                self.ledger.stay_away(bid.account, time.time() + min(outcome.after, LONGEST_AWAY_S))
            return outcome
        self.accepted = True
        tokens = self._tokens(outcome, request)
        kept = Completion(outcome.text, outcome.finish) if outcome.text.strip() or self.endpoint.strict else None
        self.ledger.settle(bid, settings.cost(*tokens), tokens, kept)
        return kept or Fault(EMPTY, again=True)

    def _tokens(self, reply: Reply, request: Request) -> tuple[int, int]:
        asked = request.most_tokens if reply.prompt_tokens is None else reply.prompt_tokens
        return asked, self.limit if reply.reply_tokens is None else reply.reply_tokens

    def _rejection(self, key: str, message: str) -> str:
        """No reply to this one request: an empty text. Raises StageError where it can't be a matter of one text."""
        self.without[key] = message
        if self.endpoint.strict or (not self.accepted and len(self.without) >= FIRST_REJECTED):
            raise StageError(f"{message}.")
        return ""

    def _pause(self, attempt: int, after: float | None) -> float:
        """Seconds before the next attempt; random, so that those who failed together don't come back together."""
        backoff = min(self.endpoint.settings.backoff_s * 2.0**attempt, LONGEST_BACKOFF_S)
        return (after or 0.0) + backoff * random.uniform(0.5, 1.0)

    def _sleep(self, seconds: float) -> None:
        if self.over.wait(max(0.0, seconds)):
            raise Stopped
