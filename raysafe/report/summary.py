"""`summary.csv`: one row a trial, for people, spreadsheets and pandas."""

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from raysafe.artifacts import write_text
from raysafe.errors import DataError

SUMMARY = "summary.csv"
_FIRST = ("trial", "status", "seed")
_BEFORE_SUITES = ("win_rate", "win_rate_low", "win_rate_high", "safety_score", "safety_score_low", "safety_score_high")
_SUITES = ("asr_direct", "asr_prefill")
_AFTER_SUITES = ("over_refusal", "utility", "new_tasks")
_LAST = (
    *("selected_rows", "unsafe_selected", "ranking_auc", "planted_recall", "safeinstr_rows", "dropped_rows"),
    *("epochs", "wall_s", "error"),
)
_SUITE = re.compile(r"asr_(?!.*_(low|high|n|\d+)$)")
"""Not an interval's end or n, and not a variant such as `asr_prefill_5`."""


@dataclass(frozen=True)
class TrialRow:
    """How a trial ended, or the mean of several (`aggregate`)."""

    trial: str
    status: str
    """FINISHED, STOPPED (early, by the scheduler) or FAILED."""
    seed: int | None
    swept: Mapping[str, Any] = field(default_factory=dict)
    """What the sweep set, by dotted name."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """`win_rate`, `win_rate_low`, ...: rates and the ends of their intervals, in [0, 1]."""
    selected_rows: float | None = None
    unsafe_selected: float | None = None
    """Share of unsafe rows among the kept ones, in [0, 1], where labels are known."""
    ranking_auc: float | None = None
    """P(a safe row ranks above an unsafe one), in [0, 1], where labels are known."""
    planted_recall: float | None = None
    """Share of the planted rows outside the top p % of the ranking, in [0, 1], where rows were planted."""
    safeinstr_rows: float | None = None
    """Trusted rows that were trained on beside the selected ones."""
    dropped_rows: float | None = None
    """Rows that training skipped, of all streams, as no label of theirs was left; the training's manifest says why of each."""
    epochs: float | None = None
    wall_s: float | None = None
    """Seconds."""
    error: str = ""
    seeds: int = 1
    """Trials that this row is the mean of; not in the file."""


def suites(rows: Iterable[TrialRow]) -> list[str]:
    """Metrics of whole attack suites: `asr_direct`, `asr_prefill`, then others by name."""
    found = {name for row in rows for name in row.metrics if _SUITE.match(name)}
    return [*_SUITES, *sorted(found - set(_SUITES))]


def swept_keys(rows: Iterable[TrialRow]) -> list[str]:
    """Dotted names of all swept settings, in the order in which they come."""
    return list(dict.fromkeys(key for row in rows for key in row.swept))


def write_summary(path: Path, rows: Sequence[TrialRow]) -> None:
    """Write the file whole, aside and renamed, so that a reader never sees half of it. What is not known is left empty.

    The last columns are every other rate's interval and number n of prompts.
    """
    metrics = [*_BEFORE_SUITES, *suites(rows), *_AFTER_SUITES]
    rates = [name for name in metrics if not name.endswith(("_low", "_high"))]
    ends = [f"{name}_{end}" for name in rates for end in ("low", "high", "n") if f"{name}_{end}" not in metrics]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_FIRST, *swept_keys(rows), *metrics, *_LAST, *ends])
    for row in rows:
        own = [row.trial, row.status, row.seed]
        swept = [row.swept.get(key) for key in swept_keys(rows)]
        known = [getattr(row, name) for name in _LAST[:-1]]
        cells = [*own, *swept, *(row.metrics.get(name) for name in metrics), *known, " ".join(row.error.split())]
        cells += [row.metrics.get(name) for name in ends]
        writer.writerow([cell(value) for value in cells])
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
    swept = {name: _value(cell) for name, cell in cells.items() if "." in name and cell}
    others = {name: cell for name, cell in cells.items() if "." not in name and cell and name not in ("trial", "status", "error")}
    try:
        numbers = {name: float(cell) for name, cell in others.items()}
    except ValueError as error:
        raise DataError(f"{path}: trial {cells['trial']!r}: {error}.") from error
    seed = numbers.pop("seed", None)
    last = {name: _whole(numbers.pop(name, None)) for name in _LAST if name != "error"}
    row = TrialRow(cells["trial"], cells["status"], None if seed is None else int(seed), swept, numbers)
    return replace(row, error=cells.get("error", ""), **last)  # type: ignore[arg-type]  # none of `last` is `seeds`


def _whole(value: float | None) -> float | None:
    return int(value) if value is not None and value.is_integer() else value
