"""Worlds that bring their own rows: which of them a trial reads, and what each recommends beneath a trial's own settings."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from raysafe.artifacts import write_lines
from raysafe.config.packages import PACKAGES
from raysafe.config.reading import read_yaml
from raysafe.config.sections import SANDBOX, TRICKS
from raysafe.sandbox import world as sandbox
from raysafe.sandbox.settings import World
from raysafe.tricks import world as tricks
from raysafe.tricks.settings import Tricks

AnyWorld = World | Tricks
WORLDS: dict[str, type[AnyWorld]] = {SANDBOX: World, TRICKS: Tricks}
"""By the name of their section, which is also what a role takes in place of a file."""


def generate(world: AnyWorld) -> dict[str, list[dict[str, object]]]:
    """The rows of every file of a world, by the file's stem. Raises ValueError for a size beyond its pool."""
    return sandbox.generate(world) if isinstance(world, World) else tricks.generate(world)


def write(world: AnyWorld, folder: Path) -> None:
    """Write each file of `generate` as `folder/<stem>.jsonl`; a file appears only when it is complete."""
    for stem, rows in generate(world).items():
        write_lines(folder / f"{stem}.jsonl", rows)


def recommended(raw: Mapping[str, Any], methods: Mapping[str, str]) -> dict[str, Any]:
    """What the world of a trial, in plain values, recommends for what the trial uses; nothing without a world. `methods`: names
    of its selector and objective."""
    world = _world_of(raw)
    if world is None:
        return {}
    known = _file(world)
    found = {key: value for key, value in known.items() if key.removesuffix("s") not in methods}
    if "attacks" in raw.get("evaluation", {}):  # a list of suites, not settings to be completed
        found["evaluation"] = {key: value for key, value in found["evaluation"].items() if key != "attacks"}
    return found | {key: known.get(f"{key}s", {}).get(name, {}) for key, name in methods.items()}


def reads(raw: Mapping[str, Any], world: str) -> bool:
    """Whether a trial in plain values, with all its defaults, reads a world's rows or its model."""
    named = [value for key in ("data", "evaluation") for value in raw.get(key, {}).values()]
    model = raw.get("model", {})
    return world in (model.get("path", SANDBOX), model.get("align"), *(value for value in named if isinstance(value, str)))


def _world_of(raw: Mapping[str, Any]) -> str | None:
    path, finetune = raw.get("model", {}).get("path", SANDBOX), raw.get("data", {}).get("finetune")
    if finetune == TRICKS or (finetune is None and path in PACKAGES):
        return TRICKS
    return SANDBOX if path == SANDBOX else None


@cache
def _file(world: str) -> dict[str, Any]:
    return read_yaml(Path(__file__).parents[1] / world / "recommended.yaml")
