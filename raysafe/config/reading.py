"""Plain YAML and mappings in, frozen dataclasses out, every problem told at once."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_origin

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from raysafe.config.endpoints import looks_secret, without_keys
from raysafe.errors import ConfigError
from raysafe.selection.gammas import import_path

T = TypeVar("T")
_FLOAT = re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)$")


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads 1e-5 as text and keeps the last of two equal keys; here it is a number, and an error."""


def _unique_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    named = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]  # `<<: *other` may be overridden
    keys = [loader.construct_object(key) for key in named]
    for key in keys:
        if keys.count(key) > 1:
            raise yaml.constructor.ConstructorError(None, None, f"the key `{key}` stands twice", node.start_mark)
    return loader.construct_mapping(node, deep=True)


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
_Loader.add_constructor("tag:yaml.org,2002:map", _unique_mapping)


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML text. Raises ConfigError naming the place."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{where}{line}: not readable as YAML: {problem}.") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises ConfigError if it is missing or no mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read ({error}). Give the path of a sweep's YAML file.") from error
    value = parse_yaml(text, str(path))
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: a mapping of keys is expected, but got {_show(value)}.")
    return value


def set_key(raw: dict[str, Any], dotted: str, value: Any) -> None:
    """Set `a.b.c` in nested mappings; a text where a mapping is needed is its name (`objective: sft`)."""
    *parents, leaf = dotted.split(".")
    for parent in parents:
        inner = raw.get(parent)
        if isinstance(inner, str):
            inner = {"name": inner}
        raw[parent] = dict(inner) if isinstance(inner, Mapping) else {}
        raw = raw[parent]
    raw[leaf] = value


def parse_overrides(raw: dict[str, Any], overrides: Iterable[str]) -> None:
    """Put `a.b=value` texts, as `--set` takes them, over plain values. Raises ConfigError for any other form."""
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set takes KEY=VALUE, as in --set training.epochs=2, but got {text!r}.")
        set_key(raw, key, parse_yaml(value, f"--set {key}"))


def named_functions(raw: Any, key: str, problems: list[str]) -> Any:
    """Values given from Python with every function in them as its import path, so that they are plain."""
    if isinstance(raw, Mapping):
        return {name: named_functions(value, f"{key}.{name}" if key else str(name), problems) for name, value in raw.items()}
    if isinstance(raw, list | tuple):
        return type(raw)(named_functions(value, key, problems) for value in raw)
    if not callable(raw):
        return raw
    try:
        return import_path(raw)
    except ValueError as error:
        problems.append(f"`{key}`: {error}")
        return None


def merged(beneath: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `beneath`, mapping by mapping."""
    result = dict(beneath)
    for key, value in above.items():
        lower = result.get(key)
        if isinstance(lower, Mapping) and isinstance(value, Mapping):
            value = merged(lower, value)
        result[key] = value
    return result


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    for cls in _dataclasses_in(kind):
        # stdlib dataclasses stay free of pydantic (the mathematics imports torch only), so they get their rules here
        cls.__pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    return TypeAdapter(kind)


def _dataclasses_in(kind: Any) -> Iterable[Any]:
    if is_dataclass(kind):
        yield kind
        for item in fields(kind):
            yield from _dataclasses_in(item.type)
    for argument in getattr(kind, "__args__", ()):
        yield from _dataclasses_in(argument)


def build(kind: Callable[..., T], raw: Any, key: str, problems: list[str]) -> T | None:
    """An object of the dataclass `kind` from plain values; problems are added to the list, in the user's words."""
    try:
        made: T = _adapter(kind).validate_json(json.dumps(raw, default=str))
        return made
    except ValidationError as error:
        problems.extend(_problem(item, kind, key) for item in error.errors())
        return None


def _problem(item: Any, kind: Any, key: str) -> str:
    path = [key, *(str(part) for part in item["loc"])] if key else [str(part) for part in item["loc"]]
    dotted = ".".join(path)
    if item["type"] == "unexpected_keyword_argument":
        return unknown_key(dotted, item["input"], _keys_at(kind, item["loc"][:-1]))
    message = str(item["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if item["type"] == "value_error":
        named = re.search(r"[A-Za-z_]\w*", message)
        if named and named.group() in _keys_at(kind, item["loc"]):
            dotted += f".{named.group()}"
        return f"`{dotted}`: {message}"
    if item["type"] == "missing":
        return f"`{dotted}`: this key is needed"
    takes = message[0].lower() + message[1:]
    return f"`{dotted}`: got {_show(item['input'])}, but {takes}"


def _keys_at(kind: Any, loc: Iterable[Any]) -> list[str]:
    parts = iter(loc)
    for part in parts:
        inner = {item.name: item.type for item in fields(kind)}.get(part) if is_dataclass(kind) else None
        kind = next(iter(_dataclasses_in(inner)), None)
        if get_origin(inner) is dict:
            next(parts, None)  # a key of the user's
    return [item.name for item in fields(kind)] if is_dataclass(kind) else []


def unknown_key(dotted: str, got: Any, takes: Iterable[str]) -> str:
    """What to say of a key that doesn't exist."""
    if looks_secret(dotted):
        return (
            f"`{dotted}`: a key may stand in the environment alone; name its variable as `key_env` (what was given is not shown)"
        )
    takes = list(takes)
    close = get_close_matches(dotted.rsplit(".", 1)[-1], takes, n=1)
    hint = f"; did you mean `{close[0]}`?" if close else ""
    known = f" It takes: {', '.join(takes)}" if takes else " It takes no settings"
    return f"`{dotted}`: unknown key (got {_show(got)}){hint}{known}"


def _show(value: Any) -> str:
    text = without_keys(json.dumps(value, default=str))
    return text if len(text) <= 60 else text[:57] + "..."
