"""Answers of a model that is served elsewhere: asked in words, or by token ids where its tokenizer is given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from raysafe.artifacts import OFF_KEY
from raysafe.config.endpoints import EndpointSettings
from raysafe.config.reading import build
from raysafe.context import Context
from raysafe.data.chat import ChatFormat, Turn, load_chat_format
from raysafe.data.records import Conversation, Message
from raysafe.errors import ConfigError, StageError
from raysafe.evaluation.attacks import Attack
from raysafe.evaluation.endpoint import Endpoint
from raysafe.evaluation.probes import Probe
from raysafe.evaluation.sharing import shared_out
from raysafe.evaluation.wire import Request, key_of, library
from raysafe.models.folders import folder_fingerprint
from raysafe.models.generation import Generate

SERVED = "openai:"
NOTED = 1 << 40
"""Ids from here on are no tokens: each stands for a whole text or conversation."""


@dataclass(frozen=True)
class ServedTokenizer:
    """The tokenizer of a served model, which the server keeps to itself: a folder, and what identifies its content."""

    key: str
    folder: str = field(metadata=OFF_KEY)


@dataclass(frozen=True)
class ServedModel:
    """A model behind an endpoint. With its tokenizer it is asked by token ids, exactly as a model in memory is; without one in
    conversations, which the server renders as it likes."""

    endpoint: EndpointSettings
    tokenizer: ServedTokenizer | None = None

    def chat(self) -> "ServedChat":
        """What renders prompts and reads answers."""
        known = load_chat_format(self.tokenizer.folder).tokenizer if self.tokenizer else None
        return ServedChat(known)

    def generator(self, chat: "ServedChat", limit: int, context: Context) -> Generate:
        """Its answers of at most `limit` tokens, each worker asking for a share; every rank calls it and gets all of them."""
        endpoint = Endpoint(self.endpoint, context.kept, strict=True)

        def generate(prompts: Sequence[Sequence[int]]) -> list[list[int]]:
            texts = shared_out(prompts, lambda mine: endpoint.texts([chat.request(ids) for ids in mine], limit), context)
            return [[chat.note(text)] for text in texts]

        return generate


@dataclass(frozen=True)
class ServedChat(ChatFormat):
    """A chat format whose answers come as texts. Attacks know token ids alone, so that each text, and without a tokenizer each
    conversation, gets an id of its own, by which it is found again."""

    noted: list[str | Conversation] = field(default_factory=list)

    def note(self, text: str | Conversation) -> int:
        """The id of a text or conversation."""
        self.noted.append(text)
        return NOTED + len(self.noted) - 1

    def request(self, ids: Sequence[int]) -> Request:
        """What is sent for a prompt."""
        asked = self.noted[ids[0] - NOTED] if ids and ids[0] >= NOTED else ""
        return Request(messages=asked) if isinstance(asked, tuple) else Request(ids=tuple(ids))

    def prompt_ids(self, prompt: Conversation) -> list[int]:
        """Token ids of the rendered prompt, or the one that stands for it."""
        return [self.note(prompt)] if self.tokenizer is None else super().prompt_ids(prompt)

    def turn(self, prompt: Conversation, answer: str, given: str = "") -> Turn:
        """As any chat format's. Raises ConfigError without a tokenizer."""
        if self.tokenizer is None:
            raise ConfigError("A served model can't be given the beginning of an answer without its tokenizer: name --tokenizer.")
        return super().turn(prompt, answer, given)

    def decode(self, ids: list[int]) -> str:
        """The text of an answer behind what was put before it, up to the end of the turn, which a server may leave in."""
        given, texts = [id for id in ids if id < NOTED], [str(self.noted[id - NOTED]) for id in ids if id >= NOTED]
        if self.tokenizer is None:
            return "".join(texts).strip()
        end = self.tokenizer.decode(self.end_ids[-1:])
        start = self.tokenizer.decode(given, skip_special_tokens=True) if given else ""
        return (start + "".join(text.split(end)[0] if end else text for text in texts)).strip()


def served_model(name: str, settings: dict[str, Any], limit: int, tokenizer: Path | None) -> ServedModel:
    """The model of `openai:MODEL@URL`, with the further settings of its endpoint (`evaluation.served`). Raises ConfigError."""
    model, at, url = name.removeprefix(SERVED).rpartition("@http")
    if not at or not model:
        raise ConfigError("A served model is named as openai:MODEL@URL, for example openai:my-model@http://127.0.0.1:8000/v1.")
    problems: list[str] = []
    endpoint = endpoint_of(settings, model, f"http{url}", problems)
    if endpoint is None or problems:
        raise ConfigError("configuration: " + "; ".join(problems) + ".")
    known = ServedTokenizer(folder_fingerprint(tokenizer), str(tokenizer.absolute())) if tokenizer else None
    return ServedModel(replace(endpoint, max_tokens=limit), known)


def endpoint_of(settings: dict[str, Any], model: str, url: str, problems: list[str]) -> EndpointSettings | None:
    """`evaluation.served` for a model at an address; what is wrong with it is added to the list."""
    for name in ("model", "base_url", "max_tokens"):
        if name in settings:
            told = "evaluation.max_new_tokens" if name == "max_tokens" else "the command line, openai:MODEL@URL"
            problems.append(f"`evaluation.served.{name}`: it is not given here, but by {told}")
    own = {name: value for name, value in settings.items() if name not in ("model", "base_url", "max_tokens")}
    return build(EndpointSettings, own | {"model": model, "base_url": url}, "evaluation.served", problems)


def check_served(model: ServedModel, attacks: Mapping[str, Attack], probes: Sequence[Probe], kept: Path) -> None:
    """Raise ConfigError, naming them, for attacks and probes that a served model can't be tried with, and for a server that takes
    no token ids where it is to be asked by them; before anything else is asked."""
    library(), key_of(model.endpoint)
    if probes:
        named = ", ".join(f"`evaluation.probes.{probe.name}`" for probe in probes)
        raise ConfigError(f"{named}: these read the model's weights, which a server doesn't show; set evaluation.probes={{}}.")
    for suite, attack in attacks.items():
        if attack.needs_model:
            raise ConfigError(
                f"`evaluation.attacks.{suite}`: it needs the model's weights, which a server doesn't show; leave it out."
            )
        if attack.needs_tokens and model.tokenizer is None:
            raise ConfigError(
                f"`evaluation.attacks.{suite}`: it begins the model's answer in tokens; name the folder of the model's "
                "tokenizer as --tokenizer, or leave the attack out."
            )
    if model.tokenizer is None:
        return
    ids = model.chat().prompt_ids((Message("user", "Hello"),))
    try:
        Endpoint(model.endpoint, kept, strict=True).texts([Request(ids=tuple(ids))], 1)
    except StageError as error:
        named = ", ".join(f"`evaluation.attacks.{suite}`" for suite, attack in attacks.items() if attack.needs_tokens)
        without = f"leave out --tokenizer and {named}" if named else "leave out --tokenizer"
        raise ConfigError(f"--tokenizer: the server gave no answer to a prompt of token ids; {without}. {error}") from error
