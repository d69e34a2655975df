"""Who has judged a sweep besides, after it was run: `judged/JUDGE.json` in its folder; going on with the sweep loses none of it.

The figures stand in `summary.csv` and `base.csv` as well, which are written anew from what trials and stages say.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from raysafe.artifacts import fingerprint, plain, write_json
from raysafe.errors import DataError
from raysafe.evaluation.judges import Judge
from raysafe.report.summary import TrialRow

FOLDER = "judged"


@dataclass(frozen=True)
class JudgedBesides:
    """A judge that was added. `settings`: the fingerprint of its settings; `figures`: `JUDGE/NAME` and value by the name of a row
    of `summary.csv` or `base.csv`."""

    name: str
    version: str
    settings: str
    judge: Mapping[str, Any]
    figures: Mapping[str, Mapping[str, float]]

    @classmethod
    def of(cls, judge: Judge, figures: Mapping[str, Mapping[str, float]]) -> "JudgedBesides":
        """What a judge has come to."""
        return cls(judge.name, judge.version, fingerprint(judge), plain(judge), figures)

    def save(self, folder: Path) -> None:
        """Write `judged/JUDGE.json`, whole."""
        write_json(folder / FOLDER / f"{self.name}.json", self)


def judged_besides(folder: Path) -> list[JudgedBesides]:
    """Whoever judged the sweep in a folder besides, by name. Raises DataError for a broken file."""
    found = []
    for path in sorted((folder / FOLDER).glob("[!.]*.json")):
        try:
            found.append(JudgedBesides(**json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError) as error:
            raise DataError(f"{path}: can't be read ({error}). Remove it and judge again with `raysafe judge`.") from error
    return found


def with_judged(rows: Mapping[str, TrialRow], folder: Path) -> dict[str, TrialRow]:
    """Rows by name, with what those said who judged besides."""
    told = dict(rows)
    for one in judged_besides(folder):
        for name, figures in one.figures.items():
            if name in told:
                others = {key: value for key, value in told[name].figures.items() if not key.startswith(f"{one.name}/")}
                told[name] = replace(told[name], figures={**others, **figures})
    return told
