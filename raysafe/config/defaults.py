"""In what a trial differs from one whose file says only what it must."""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from raysafe.artifacts import plain
from raysafe.config.sections import SANDBOX
from raysafe.config.seeds import Replicate
from raysafe.config.sweeps import read_trial
from raysafe.config.trials import TrialConfig

_FILES = {
    *(f"data.{name}" for name in ("finetune", "safe", "align", "align_harmful")),
    *(f"evaluation.{name}" for name in ("harmful", "borderline", "utility", "new_tasks")),
}
"""What says where data lie, and not how they are used."""


def departures(trial: TrialConfig) -> dict[str, Any]:
    """The settings, dotted, that are not what they would be if the file said no more than it must: the model, the names of
    selector and objective, and settings without a default.

    In a world the rest is what that world recommends, else the sections' own defaults. Paths of data are left out.
    """
    given, path = plain(trial), trial.model.path
    parts = {item.name: getattr(trial, item.name) for item in fields(trial) if is_dataclass(getattr(trial, item.name))}
    raw = {name: {key: given[name][key] for key in _needed(part)} for name, part in parts.items()}
    raw["model"]["path"] = path
    for name in ("selector", "objective"):
        raw[name]["name"] = parts[name].name
    drawn = [trial.sandbox.seed, *(one.seed for one in trial.worlds.values())][-1]
    world = None if trial.ranking_seed is None else drawn  # an axis: told as what it is
    default = read_trial(raw, Replicate(trial.seed, trial.ranking_seed, world), [])
    found = _differing(given, plain(default) if default else {})
    if default is not None and trial.percent == default.percent:
        found.pop("selection.percent", None)  # said, and all the same what it is if left out
    return ({} if path == SANDBOX else {"model.path": path}) | {key: value for key, value in found.items() if key not in _FILES}


def _needed(part: Any) -> list[str]:
    """The settings of a section that have no default."""
    return [item.name for item in fields(part) if item.default is MISSING and item.default_factory is MISSING]


def _differing(value: Any, default: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted values that are not the default's; None for those that only the default has."""
    if not isinstance(value, Mapping) or not isinstance(default, Mapping):
        return {} if value == default else dotted(value, prefix)
    found: dict[str, Any] = {}
    for name in dict.fromkeys([*value, *default]):
        key = f"{prefix}.{name}" if prefix else str(name)
        found |= _differing(value[name], default.get(name), key) if name in value else {key: None}
    return found


def dotted(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested plain values as dotted keys; lists stay values."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {k: v for name, item in value.items() for k, v in dotted(item, f"{prefix}.{name}" if prefix else str(name)).items()}
