"""How settings are called and written wherever trials are told."""

from collections.abc import Sequence
from typing import Any

NONE = "–"
"""What is not known."""


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """The last part of each dotted name, the section for a `.name`, or all of it where two would be alike."""
    short = {key: key.removesuffix(".name") if key.endswith(".name") else key.rpartition(".")[2] for key in keys}
    return {key: name if list(short.values()).count(name) == 1 else key for key, name in short.items()}


def setting_text(value: Any) -> str:
    """A value of a setting."""
    if isinstance(value, float):
        return f"{value:g}"
    return NONE if value is None else str(value)
