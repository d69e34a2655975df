"""Files of texts into frozen dataclasses: entries of a YAML list, lines of JSON, each checked against its class.

A field takes a text or a tuple of texts. Its metadata says more: `PLACES`, which places to be filled its texts may have (none,
unless it is said; None: they are not looked at), and `ONCE`, that no two entries have a text of it in common.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from string import Formatter
from typing import Any, TypeVar

import yaml

from raysafe.errors import DataError

T = TypeVar("T")
Shape = Callable[[Any], Any]
PLACES, ONCE = "places", "once"


def read_sections(path: Path, sections: tuple[str, ...]) -> dict[str, Any]:
    """A YAML file of exactly these sections. Raises DataError."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: can't be read: {error}") from error
    if not isinstance(raw, dict) or set(raw) != set(sections):
        got = ", ".join(map(str, raw)) if isinstance(raw, dict) else repr(raw)[:60]
        raise DataError(f"{path.name}: takes {' and '.join(f'`{name}`' for name in sections)}, but got {got}.")
    return raw


def read_entries(path: Path, raw: Any, kind: type[T], shapes: Mapping[str, Shape] | None = None) -> tuple[T, ...]:
    """The entries of a section. shapes: fields that are written in another way than they are kept. Raises DataError."""
    if not isinstance(raw, list) or not raw:
        raise DataError(f"{path.name}: a list of entries is expected, but got {raw!r:.60}.")
    found = tuple(read_entry(one, kind, f"{path.name}, entry {number}", shapes) for number, one in enumerate(raw, start=1))
    for name in (item.name for item in fields(kind) if item.metadata.get(ONCE)):  # type: ignore[arg-type]
        check_once(path.name, (texts_in(getattr(one, name)) for one in found))
    return found


def read_entry(raw: Any, kind: type[T], where: str, shapes: Mapping[str, Shape] | None = None) -> T:
    """One entry: each field of the class, and nothing else. Raises DataError."""
    known = [item.name for item in fields(kind)]  # type: ignore[arg-type]
    if not isinstance(raw, dict) or set(raw) != set(known):
        wrong = f"{sorted(map(str, set(raw) ^ set(known)))} too many or missing" if isinstance(raw, dict) else f"{raw!r:.60}"
        raise DataError(f"{where}: takes {', '.join(known)}, but got {wrong}.")
    values = {}
    for item in fields(kind):  # type: ignore[arg-type]
        shape = (shapes or {}).get(item.name, text_list if "tuple" in str(item.type) else _text)
        try:
            values[item.name] = shape(raw[item.name])
            check_places(values[item.name], item.metadata.get(PLACES, ()))
        except ValueError as error:
            raise DataError(f"{where}: `{item.name}` {error}.") from error
    return kind(**values)


def read_lines(path: Path, kind: type[T]) -> Iterator[tuple[str, T]]:
    """The entries of a file of JSON lines, each with file and line as they are told. Raises DataError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: can't be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        try:
            raw = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{where}: no JSON: {error}.") from error
        yield where, read_entry(raw, kind, where)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"takes a text, but got {value!r:.60}")
    return value


def text_list(value: Any) -> tuple[str, ...]:
    """A list of texts, none empty. Raises ValueError."""
    if not isinstance(value, list) or not value:
        raise ValueError(f"takes a list of texts, but got {value!r:.60}")
    return tuple(map(_text, value))


def texts_in(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """The texts of a field."""
    return (value,) if isinstance(value, str) else value


def places_in(text: str) -> set[str]:
    """The places of a text that are to be filled. Raises ValueError for a lone brace."""
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def check_places(value: str | tuple[str, ...], allowed: Collection[str] | None) -> None:
    """Raises ValueError for a place that a text may not have. allowed: None where braces mean something else."""
    for text in texts_in(value) if allowed is not None else ():
        try:
            unknown = sorted(places_in(text) - set(allowed or ()))
        except ValueError as error:
            raise ValueError(f"is no text to be filled: {error}: {text!r:.60}") from error
        if unknown:
            may = ", ".join(f"{{{name}}}" for name in allowed or ()) or "no place to be filled"
            raise ValueError(f"may have {may}, but got {{{unknown[0]}}} in {text!r:.60}")


def check_once(where: str, entries: Iterable[tuple[str, ...]]) -> None:
    """Raises DataError if two texts are one, but for case and white space."""
    seen: dict[str, int] = {}
    for number, texts in enumerate(entries, start=1):
        for text in texts:
            first = seen.setdefault(" ".join(text.lower().split()), number)
            if first != number or texts.count(text) > 1:
                raise DataError(f"{where}, entry {number}: {text!r:.60} stands in entry {first} already.")
