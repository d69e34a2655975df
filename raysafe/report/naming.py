"""What people read in place of dotted names and folder names: a setting's short name and text, a trial's title."""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

NONE = "–"
"""What is not known, or not set."""
SYMBOLS = {"selector.gamma": "γ", "selection.percent": "p"}
"""Settings that have a letter in the papers."""
PROPER = {"seal": "SEAL", "dsir": "DSIR", "sft": "SFT", "ga": "GA", "npo": "NPO", "dpo": "DPO", "door": "DOOR", "wdoor": "W-DOOR"}
"""Methods that have a name of their own in the papers."""
_TAKEN = ("seed", "seeds", "seed_world", "seed_ranking", "status")
"""Columns beside those of settings."""
NO_AXES: Mapping[str, int] = MappingProxyType({})
_MOST = 100
"""Characters of a title's settings."""


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """The last part of each dotted name, the section for a `.name`, or all of it where two would be alike, or like `seed`."""
    short = {key: key.removesuffix(".name") if key.endswith(".name") else key.rpartition(".")[2] for key in keys}
    taken = [*short.values(), *_TAKEN]
    return {key: name if taken.count(name) == 1 else key for key, name in short.items()}


def setting_text(value: Any) -> str:
    """A setting's value: a number as short as it is exact, a text as it is."""
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return NONE if value is None else value if isinstance(value, str) else json.dumps(value, default=str)


def proper_name(method: str) -> str:
    """A selector or objective in a sentence: as the papers write it, or as the configuration does."""
    return PROPER.get(method, f"`{method}`")


def seeds_text(seed: int | None, axes: Mapping[str, int] = NO_AXES) -> str:
    """`seed 1`, or with seeds of their own `world 0 ranking 1 seed 1`. `axes`: `seed_world`, `seed_ranking`."""
    parts = [f"{name.removeprefix('seed_')} {value}" for name, value in axes.items()]
    return " ".join(parts + ([] if seed is None else [f"seed {seed}"]))


def trial_title(swept: Mapping[str, Any], seed: int | None = None, axes: Mapping[str, int] = NO_AXES) -> str:
    """What the sweep set in a trial, for people: `γ=0.1 p=70 wdoor seed 1`. Settings of more than 100 characters are cut off."""
    short = short_names(list(swept))
    parts = [
        setting_text(value) if key.endswith(".name") else f"{SYMBOLS.get(key, short[key])}={setting_text(value)}"
        for key, value in swept.items()
    ]
    settings = " ".join(parts)
    settings = settings if len(settings) <= _MOST else settings[: _MOST - 1] + "…"
    return " ".join(filter(None, [settings, seeds_text(seed, axes)]))
