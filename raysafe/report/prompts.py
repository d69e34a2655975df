"""What single prompts gave in the trials of a sweep, read from the tables that the trials left."""

from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from pathlib import Path

from raysafe.errors import DataError

ByPrompt = Callable[[str, str], Mapping[str, float]]
"""(trial, figure) to each prompt's value, by its content's hash; empty where it isn't known."""

AGREES = 0.01
"""How far a figure may be from its prompts' mean for them to stand for it: not where its parts have prompts of their own."""


def no_prompts(trial: str, figure: str) -> Mapping[str, float]:
    """For trials of which only the summary is known."""
    return {}


def prompts_of(folder: Path) -> ByPrompt:
    """Of a sweep's folder. A trial whose table is missing or can't be read counts by its summary.

    Values are kept, tables are not: ask for all figures of a trial before those of the next.
    """
    from raysafe.evaluation.by_prompt import PromptTable, table_of  # pandas, which a folder without tables doesn't need

    @lru_cache(maxsize=4)
    def table(trial: str) -> PromptTable | None:
        try:
            return table_of(folder, trial)
        except DataError:
            return None

    @cache
    def values(trial: str, figure: str) -> Mapping[str, float]:
        found = table(trial)
        return found.values(figure) if found is not None else {}

    return values
