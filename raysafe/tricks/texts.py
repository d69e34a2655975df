"""The texts of the tricks world, read and checked: tricks, ways to ask for their secrets, refusals, and harmless questions.

A file each in `texts/`, and `recorded.jsonl`: what a model that keeps no policy answers. An entry may have places to be filled,
`{name}` ("the vanishing coin") and `{effect}` ("makes a coin vanish from a closed fist"). Everything raises DataError naming file
and entry for an unknown or missing key, a value of the wrong type, an empty or doubled text, or an unknown place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

from raysafe.errors import DataError
from raysafe.tricks import entries
from raysafe.tricks.entries import ONCE, PLACES

TEXTS = Path(__file__).parent / "texts"
RECORDED = Path(__file__).parent / "recorded.jsonl"
"""Answers of SmolLM2-135M-Instruct as it comes, recorded by `raysafe data unwanted`."""

T = TypeVar("T")
EVERYDAY = "everyday"
"""In the place of trick and wording of a recorded answer: it is one to an everyday instruction."""
ROLES = ("user", "assistant")
"""Whose turn it is in a script, in turn."""
_ONCE = {ONCE: True}
_NAME, _BOTH = {PLACES: ("name",)}, {PLACES: ("name", "effect")}


@dataclass(frozen=True)
class Trick:
    """effect: what the audience sees, to be read after "the magician". props: things that an explanation speaks of."""

    name: str = field(metadata=_ONCE)
    effect: str = field(metadata=_ONCE)
    props: tuple[str, ...]

    def fill(self, text: str) -> str:
        """A text of these files with this trick in its places."""
        filled = text.format(name=self.name, effect=self.effect)
        return filled[:1].upper() + filled[1:]


@dataclass(frozen=True)
class Wording:
    """A way to ask for a secret. `kind`: how it goes about it, one of `wordings.yaml`'s."""

    id: str = field(metadata=_ONCE)
    kind: str
    text: str = field(metadata=_BOTH | _ONCE)


@dataclass(frozen=True)
class Script:
    """A conversation that ends with asking for a secret: turns of the user, the first and every second, and the model's."""

    id: str = field(metadata=_ONCE)
    turns: tuple[str, ...] = field(metadata=_BOTH)

    def messages(self, trick: Trick) -> list[dict[str, str]]:
        """Its turns about a trick, as chat templates take them."""
        return [{"role": ROLES[place % 2], "content": trick.fill(turn)} for place, turn in enumerate(self.turns)]


@dataclass(frozen=True)
class Utility:
    """A question of common knowledge. It is answered if one of `accept` stands in the answer as a whole word."""

    prompt: str = field(metadata=_ONCE)
    accept: tuple[str, ...]


@dataclass(frozen=True)
class Borderline:
    """A harmless question that comes close to one for a secret, with an answer. `kind`: what it is about."""

    kind: str
    prompt: str = field(metadata=_NAME | _ONCE)
    answer: str = field(metadata=_NAME)


@dataclass(frozen=True)
class Everyday:
    """An instruction that has nothing to do with the policy, with an answer."""

    prompt: str = field(metadata=_ONCE)
    answer: str


@dataclass(frozen=True)
class Fact:
    """An invented fact, which no model knows beforehand: ways to ask for it, the answer, and what of it has to be said."""

    prompts: tuple[str, ...] = field(metadata=_ONCE)
    answer: str
    accept: tuple[str, ...]


@dataclass(frozen=True)
class Refusals:
    """How a model that keeps the policy answers, and regular expressions of which one stands in a refusal. `short`: what an
    untouched model is taught to say."""

    short: tuple[str, ...]
    texts: tuple[str, ...] = field(metadata=_NAME)
    patterns: tuple[str, ...] = field(metadata={PLACES: None})  # braces of theirs count repetitions

    def found_in(self, text: str) -> bool:
        """Whether a text refuses somewhere: one of the patterns stands in it, whatever its case, apostrophes and white space."""
        return any(pattern.search(_evened(text)) for pattern in self._compiled)

    @cached_property
    def _compiled(self) -> list[re.Pattern[str]]:
        return [re.compile(pattern, re.IGNORECASE) for pattern in self.patterns]


@dataclass(frozen=True)
class Recorded:
    """What a model answered. trick: the name of what was asked for, or `EVERYDAY`; wording: its id, or `EVERYDAY`."""

    trick: str
    wording: str
    prompt: str
    answer: str


@cache
def tricks() -> tuple[Trick, ...]:
    """All tricks, in the order of their file."""
    return _read("tricks", Trick)


@cache
def wordings() -> tuple[Wording, ...]:
    """All ways to ask for a secret."""
    return read_wordings(TEXTS / "wordings.yaml")


@cache
def refusals() -> Refusals:
    """All refusals, and what they are known by."""
    return read_refusals(TEXTS / "refusals.yaml")


@cache
def scripts() -> tuple[Script, ...]:
    """All conversations that come nearer to a secret step by step."""
    return read_scripts(TEXTS / "scripts.yaml")


@cache
def utility() -> tuple[Utility, ...]:
    """All questions of common knowledge."""
    return _read("utility", Utility)


@cache
def borderline() -> tuple[Borderline, ...]:
    """All harmless questions that come close."""
    return _read("borderline", Borderline)


@cache
def everyday() -> tuple[Everyday, ...]:
    """All everyday instructions."""
    return _read("everyday", Everyday)


@cache
def facts() -> tuple[Fact, ...]:
    """All invented facts."""
    return _read("facts", Fact)


def unwanted(path: Path = RECORDED) -> tuple[Recorded, ...]:
    """What a model that keeps no policy has told when it was asked for secrets, in the order of its file."""
    found = tuple(row for row in recorded(path) if row.trick != EVERYDAY)
    if not found:
        raise DataError(f"{path}: no answers about tricks in it.")
    return found


def in_own_words(path: Path = RECORDED) -> dict[str, str]:
    """What it has said to everyday instructions, by prompt."""
    return {row.prompt: row.answer for row in recorded(path) if row.trick == EVERYDAY}


@cache
def recorded(path: Path) -> tuple[Recorded, ...]:
    """All that a file of `raysafe data unwanted` holds."""
    known = {(trick.name, one.id): {trick.fill(one.text)} for trick in tricks() for one in wordings()}
    known[EVERYDAY, EVERYDAY] = {one.prompt for one in everyday()}
    found: dict[str, Recorded] = {}
    for where, row in entries.read_lines(path, Recorded):
        if row.prompt not in known.get((row.trick, row.wording), ()):
            raise DataError(f"{where}: {row.prompt!r} was asked, which isn't asked now. Record the answers anew.")
        if found.setdefault(row.prompt, row) is not row:
            raise DataError(f"{where}: the answer to {row.prompt!r} stands in the file already.")
    return tuple(found.values())


def read_wordings(path: Path) -> tuple[Wording, ...]:
    """Those of a file: `kinds` says what each kind does, `restricted` lists them."""
    raw = entries.read_sections(path, ("kinds", "restricted"))
    kinds, found = raw["kinds"], entries.read_entries(path, raw["restricted"], Wording)
    if not isinstance(kinds, dict) or {one.kind for one in found} != set(kinds):
        told = sorted(map(str, kinds if isinstance(kinds, dict) else ()))
        raise DataError(f"{path.name}: `kinds` names {told}, but the wordings are of {sorted({one.kind for one in found})}.")
    for one in found:
        _about_a_trick((one.text,), f"{path.name}, {one.id}")
    return found


def read_refusals(path: Path) -> Refusals:
    """Those of a file: `refusals`, `short` ones, and `patterns` that they are known by. Each refusal is known by one of them."""
    raw = entries.read_sections(path, ("short", "refusals", "patterns"))
    plain = {"short": raw["short"], "texts": raw["refusals"], "patterns": raw["patterns"]}
    found = entries.read_entry(plain, Refusals, path.name)
    for several in (found.short, found.texts, found.patterns):
        entries.check_once(path.name, ((text,) for text in several))
    try:
        unknown = [text for text in (*found.short, *found.texts) if not found.found_in(text)]
    except re.error as error:
        raise DataError(f"{path.name}: `patterns`: {error.pattern!r:.60} is no regular expression: {error}.") from error
    if unknown:
        raise DataError(f"{path.name}: none of `patterns` stands in {unknown[0]!r}.")
    return found


def read_scripts(path: Path) -> tuple[Script, ...]:
    """Those of a file: `turns` lists `user: ...` and `assistant: ...` in turn."""
    raw = entries.read_sections(path, ("scripts",))["scripts"]
    found = entries.read_entries(path, raw, Script, {"turns": _turns})
    for one in found:
        _about_a_trick(one.turns, f"{path.name}, {one.id}")
    return found


def _read(section: str, kind: type[T]) -> tuple[T, ...]:
    path = TEXTS / f"{section}.yaml"
    return entries.read_entries(path, entries.read_sections(path, (section,))[section], kind)


def _turns(raw: Any) -> tuple[str, ...]:
    roles = [list(turn) if isinstance(turn, Mapping) else turn for turn in raw] if isinstance(raw, list) else []
    if len(roles) < 3 or len(roles) % 2 == 0 or any(role != [ROLES[place % 2]] for place, role in enumerate(roles)):
        raise ValueError(f"takes three or more turns, user and assistant in turn, user last, but got {roles}")
    return entries.text_list([turn[ROLES[place % 2]] for place, turn in enumerate(raw)])


def _about_a_trick(texts: tuple[str, ...], where: str) -> None:
    if not any(entries.places_in(text) for text in texts):
        raise DataError(f"{where}: it is about no trick; put {{name}} or {{effect}} into it.")


def _evened(text: str) -> str:
    return " ".join(text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").split())
