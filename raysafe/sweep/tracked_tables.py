"""What people read of a trial as tables: its selection, its overlap with others', its answers with every judge's verdict.

A table is a JSON file under the trial's `tables/`, as the tracker's pages show it, where six columns or so are in sight at once.
Large ones are cut, and say so.
"""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from raysafe.artifacts import Artifact, Artifacts, write_text
from raysafe.data.records import Conversation
from raysafe.data.references import DataRef
from raysafe.evaluation.answering import Answer, Answers, read_lines
from raysafe.evaluation.roles import ROLES
from raysafe.ranking.diagnosis import source_of
from raysafe.ranking.tables import Selection, kept_rows
from raysafe.stages.verdicts import VERDICTS
from raysafe.sweep.trial_record import TrialRecord
from raysafe.tracking.base import TABLES

MOST_ROWS, ENDS = 1000, 400
"""Rows of a selection's table: so many of each end of the ranking, and the rest from between, evenly."""
MOST_ANSWERS = 2000
MOST_OTHERS = 500
"""Trials that one is compared with, those of largest overlap."""
BEGINNING, ANSWER = 160, 600
"""Characters of a text."""


@dataclass(frozen=True)
class Table:
    """`of`: rows that there are, of which these are some. `cut`: how they were chosen, where these are not all."""

    columns: Sequence[str]
    data: Sequence[Sequence[Any]]
    of: int
    cut: str = ""

    @property
    def note(self) -> str:
        """`1,000 of 20,000 rows: ...`, or `400 rows`."""
        return (
            f"{len(self.data):,} of {self.of:,} rows: {self.cut}" if self.cut else f"{self.of:,} row{'' if self.of == 1 else 's'}"
        )

    def write(self, folder: Path, name: str) -> Path:
        """The file `tables/NAME.json`, whole."""
        path = folder / TABLES / f"{name}.json"
        write_text(
            path, json.dumps({"columns": list(self.columns), "data": [list(row) for row in self.data]}, ensure_ascii=False)
        )
        return path


def trial_tables(trial: TrialRecord, ranked: DataRef | None, store: Artifacts, log_text: bool) -> dict[str, Table]:
    """What there is of a trial that has ended: `selection`, and `verdicts` where its model was asked everything. `ranked`: D."""
    tables, path = {}, trial.folder / "selection.parquet"
    if ranked is not None and path.exists():
        tables["selection"] = selection_table(path, ranked, log_text)
    answers = [store.by_id(job) for job, label in trial.asked.items() if label == "answers"]
    verdicts = [store.by_id(job) for job, label in trial.asked.items() if label == "verdicts"]
    if trial.result is not None and answers and verdicts:
        tables["verdicts"] = verdicts_table(answers[-1], verdicts, log_text)
    return tables


def selection_table(path: Path, data: DataRef, log_text: bool) -> Table:
    """The rows of a `selection.parquet`, the highest first, those that can't be used last. `data`: what was ranked."""
    frame = Selection.load(path).table
    order = np.argsort(frame["rank"].to_numpy(), kind="stable")
    shown = _ends(len(order))
    texts = texts_of(data)
    columns = ["rank", "score", "kept", "label", "source", *(["prompt", "answer"] if log_text else []), "reason", "row"]
    rows = []
    for place in order[shown]:
        row = frame.iloc[place]
        source, *beginnings = texts[int(row["row"])]
        score = _finite(float(f"{row['score']:.6g}"))
        texts_told = beginnings if log_text else []
        rows.append(
            [int(row["rank"]), score, bool(row["selected"]), _label(row), source, *texts_told, row["reason"], int(row["row"])]
        )
    cut = f"the {ENDS} highest, the {ENDS} lowest, and evenly from between; all are in selection.parquet"
    return Table(columns, rows, len(frame), cut if len(rows) < len(frame) else "")


def _ends(count: int) -> list[int]:
    """Places of the first, the last and some between."""
    if count <= MOST_ROWS:
        return list(range(count))
    between = np.linspace(ENDS, count - ENDS - 1, MOST_ROWS - 2 * ENDS).round().astype(int)
    return [*range(ENDS), *between.tolist(), *range(count - ENDS, count)]


def _label(row: pd.Series) -> str:
    if row.get("planted", False):
        return "planted"
    unsafe = row.get("unsafe")
    return "" if unsafe is None or pd.isna(unsafe) else "unsafe" if unsafe else "safe"


@lru_cache(maxsize=2)
def texts_of(data: DataRef) -> list[tuple[str, str, str]]:
    """Source, beginning of the prompt's last turn and beginning of the answer, of every row that is ranked."""
    return [(source_of(row), _beginning(_last(row.prompt)), _beginning(row.response)) for row in data.ranked()]


def overlap_tables(folder: Path, titles: Mapping[str, str]) -> dict[str, Table]:
    """For each trial that has a selection, its overlap with those of the others on the same data. `titles`: of the trials."""
    kept: dict[str, _Kept] = {}
    distinct: dict[tuple[str, bytes], _Kept] = {}
    for name in titles:
        path = folder / "trials" / name / "selection.parquet"
        if path.exists():
            fingerprint, kept_N = kept_rows(path)
            known = distinct.setdefault((fingerprint, np.packbits(kept_N).tobytes()), _Kept(fingerprint, kept_N, len(distinct)))
            kept[name] = known
    shared = {(one.id, two.id): one.overlap(two) for one in distinct.values() for two in distinct.values() if one.like(two)}
    tables = {}
    for name, own in kept.items():
        others = [(other, theirs) for other, theirs in kept.items() if other != name and own.like(theirs)]
        rows: list[list[Any]] = [[titles[other], theirs.count, *shared[own.id, theirs.id], other] for other, theirs in others]
        rows.sort(key=lambda row: row[3], reverse=True)
        if rows:
            cut = f"those that overlap most; {len(rows)} trials selected from the same data" if len(rows) > MOST_OTHERS else ""
            tables[name] = Table(["trial", "kept", "in common", "jaccard", "folder"], rows[:MOST_OTHERS], len(rows), cut)
    return tables


class _Kept:
    """A selection that one trial or several made."""

    def __init__(self, fingerprint: str, kept_N: np.ndarray, id: int) -> None:
        self.fingerprint, self.kept_N, self.id, self.count = fingerprint, kept_N, id, int(kept_N.sum())

    def like(self, other: "_Kept") -> bool:
        """Whether both selected from the same rows; planted ones may differ, and are never kept."""
        return self.fingerprint == other.fingerprint

    def overlap(self, other: "_Kept") -> tuple[int, float]:
        """Rows in common, and the Jaccard index."""
        size = min(len(self.kept_N), len(other.kept_N))
        common = int((self.kept_N[:size] & other.kept_N[:size]).sum())
        either = self.count + other.count - common
        return common, round(common / either, 4) if either else 1.0


def verdicts_table(answers: Artifact, verdicts: Sequence[Artifact], log_text: bool) -> Table:
    """Every answer with what each judge said of it. Of too many, those stay first that judges disagree about, then hits."""
    asked = Answers.load(answers.folder)
    judged = {name: [line["hit"] for line in read_lines(stage.folder / VERDICTS)] for name, stage in _judges(verdicts).items()}
    texts = ["prompt", "answer"] if log_text else ["content_hash"]
    rows, urgent = [], []
    for place, row in enumerate(asked.rows):
        hits = [hits[place] for hits in judged.values()]
        said = (
            [_beginning(_last(row.asked or asked.prompt_of(row).prompt)), row.answer[:ANSWER]] if log_text else [row.content_hash]
        )
        disagree = len(set(hits)) > 1
        rows.append([row.suite, row.variant, *said, *(_verdict(row, hit) for hit in hits), disagree, row.index])
        urgent.append((not disagree, not any(hits), place))
    kept = sorted(place for *_, place in sorted(urgent)[:MOST_ANSWERS])
    cut = "where judges disagree, then hits, then the rest; all are in the store" if len(kept) < len(rows) else ""
    return Table(["suite", "variant", *texts, *judged, "disagree", "row"], [rows[place] for place in kept], len(rows), cut)


def _judges(verdicts: Sequence[Artifact]) -> dict[str, Artifact]:
    """Stages by the judge's name, with a number where one judges twice."""
    found: dict[str, Artifact] = {}
    for stage in verdicts:
        name = stage.result["judge"]["name"]
        again = sum(known.partition(" ")[0] == name for known in found)
        found[f"{name} {again + 1}" if again else name] = stage
    return found


def _verdict(row: Answer, hit: bool | None) -> str:
    word = ROLES[row.role].hit
    if hit is None:
        return ""
    return word if hit else f"not {word}"


def csv_table(path: Path) -> Table:
    """A CSV file as a table, numbers as numbers."""
    with path.open(encoding="utf-8", newline="") as file:
        head, *lines = csv.reader(file)
    cut = f"the first; all are in {path.name}" if len(lines) > MOST_ANSWERS else ""
    return Table(head, [[_value(cell) for cell in line] for line in lines[:MOST_ANSWERS]], len(lines), cut)


def _value(cell: str) -> Any:
    try:
        number = float(cell) if cell else None
    except ValueError:
        return cell
    if number is not None and not math.isfinite(number):
        return cell
    return int(number) if number is not None and cell.lstrip("-").isdigit() else number


def _finite(value: float) -> float | None:
    """JSON, as a page reads it, has no other numbers."""
    return value if math.isfinite(value) else None


def _last(turns: Conversation) -> str:
    return turns[-1].content


def _beginning(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= BEGINNING else text[: BEGINNING - 1] + "…"
