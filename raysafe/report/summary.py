"""`summary.csv`: one row a trial, for people, spreadsheets and pandas."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raysafe.artifacts import write_text
from raysafe.errors import DataError
from raysafe.report.figures import FIGURES, Figure, listed, of_other_judges

SUMMARY = "summary.csv"
_FIRST = ("trial", "status", "seed")
AXES = ("seed_world", "seed_ranking")
"""Columns behind them where a sweep has these seeds as axes of their own; `seed` is that of the training then."""


@dataclass(frozen=True)
class TrialRow:
    """How a trial ended, or the mean of several (`aggregate`)."""

    trial: str
    status: str
    """FINISHED, STOPPED (early, by the scheduler; or by a guard, which `error` names) or FAILED."""
    seed: int | None
    swept: Mapping[str, Any] = field(default_factory=dict)
    """What the sweep set, by dotted name."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """What is known of it, by name (`figures.py`): `win_rate`, `win_rate_low`, `selected_rows`, ..."""
    error: str = ""
    seeds: int = 1
    """Trials that this row is the mean of; not in the file."""
    seed_world: int | None = None
    seed_ranking: int | None = None

    @property
    def axes(self) -> dict[str, int]:
        """Its seeds beside that of the training, by column, where they are axes of their own."""
        known = {name: getattr(self, name) for name in AXES}
        return {name: seed for name, seed in known.items() if seed is not None}

    @property
    def guarded(self) -> bool:
        """Whether a guard of its evaluation failed or stopped it."""
        return self.error.startswith("guard `")

    @property
    def replicate(self) -> tuple[int | None, ...]:
        """What tells trials of the same settings apart: the seeds of world, ranking and training. Where one seed is all of them,
        the first two are None. Trials are pairs where settings differ and these are equal."""
        return self.seed_world, self.seed_ranking, self.seed


def evaluations(rows: Iterable[TrialRow]) -> list[str]:
    """What the trials' figures are figures of, in the order in which they come; more than one, and they are no comparison."""
    return list(dict.fromkeys(str(row.figures["evaluation"]) for row in rows if row.figures.get("evaluation")))


def swept_keys(rows: Iterable[TrialRow]) -> list[str]:
    """Dotted names of all swept settings, in the order in which they come."""
    return list(dict.fromkeys(key for row in rows for key in row.swept))


def columns_of(rows: Sequence[TrialRow]) -> list[str]:
    """All figures' columns, `error` among them: scores, the rest, then what is left of the intervals and the numbers n of
    prompts, and what further judges say."""
    values = [row.figures for row in rows]
    figures = listed(values)
    scores = [figure for figure in figures if figure.source == "scores"]
    first = [name for figure in scores for name in ([figure.name, *_ends(figure)[:2]] if figure.main else [figure.name])]
    others = [figure.name for figure in figures if figure.source != "scores"]
    ends = [name for figure in scores for name in _ends(figure) if name not in first]
    return [*first, *others, "error", *ends, *of_other_judges(values)]


def _ends(figure: Figure) -> list[str]:
    return [f"{figure.name}_{end}" for end in ("low", "high", "n")]


def write_summary(path: Path, rows: Sequence[TrialRow]) -> None:
    """Write the file whole, aside and renamed, so that a reader never sees half of it. What is not known is left empty."""
    swept, columns = swept_keys(rows), columns_of(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    axes = [name for name in AXES if any(name in row.axes for row in rows)]
    writer.writerow([*_FIRST, *axes, *swept, *columns])
    for row in rows:
        known = {**row.figures, "error": " ".join(row.error.split())}
        seeds = [row.seed, *map(row.axes.get, axes)]
        values = [row.trial, row.status, *seeds, *map(row.swept.get, swept), *map(known.get, columns)]
        writer.writerow([cell(value) for value in values])
    write_text(path, text.getvalue())


def read_summary(path: Path) -> list[TrialRow]:
    """The rows of a file that `write_summary` wrote. Raises DataError if it is not there or not such a file."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: can't be read ({error}).") from error
    missing = [name for name in _FIRST if rows and name not in rows[0]]
    if missing:
        raise DataError(f"{path}: is no summary of a sweep, it has no column {', '.join(missing)}.")
    return [_row({key: value or "" for key, value in row.items() if key is not None}, path) for row in rows]


def cell(value: Any) -> str:
    """A value as a text of a CSV file; empty for what is not known or not finite."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.9g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _value(cell: str) -> Any:
    """A swept value: a number, true, false or a list where it reads as one, otherwise a text."""
    try:
        return json.loads(cell)
    except json.JSONDecodeError:
        return cell


def _row(cells: Mapping[str, str], path: Path) -> TrialRow:
    texts = {figure.name for figure in FIGURES if figure.unit == "text"}
    swept, figures = {}, {}
    for name, cell in cells.items():
        if not cell or name in (*_FIRST, *AXES, "error"):
            continue
        if "." in name:
            swept[name] = _value(cell)
        else:
            figures[name] = cell if name in texts else _number(cell, cells["trial"], path)
    known = [name for name in ("seed", *AXES) if cells.get(name)]
    seeds: dict[str, Any] = {"seed": None} | {name: int(_number(cells[name], cells["trial"], path)) for name in known}
    return TrialRow(cells["trial"], cells["status"], swept=swept, figures=figures, error=cells.get("error", ""), **seeds)


def _number(cell: str, trial: str, path: Path) -> float:
    try:
        value = float(cell)
    except ValueError as error:
        raise DataError(f"{path}: trial {trial!r}: {error}.") from error
    return int(value) if value.is_integer() else value
