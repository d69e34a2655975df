"""A ranking and a selection as files: hash-keyed, every row of the unfiltered data with its fate."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from raysafe.data.records import Example, dataset_fingerprint
from raysafe.errors import DataError
from raysafe.selection import ranks, top_percent

COLUMNS = ("row", "content_hash", "score", "rank", "selected", "reason")
_BELOW = "below the top "


@dataclass(frozen=True)
class Ranking:
    """Scores of D's rows, one of each a row of the unfiltered data: `reasons` say why a row can't be used, or are empty;
    `unsafe` are the labels, None where unknown."""

    fingerprint: str
    content_hashes: tuple[str, ...]
    scores: tuple[float, ...]
    reasons: tuple[str, ...]
    unsafe: tuple[bool | None, ...]

    @classmethod
    def of(cls, rows: Sequence[Example], scores: Sequence[float], reasons: dict[int, str]) -> "Ranking":
        """The ranking of some rows; `reasons` by row index."""
        hashes = tuple(row.content_hash for row in rows)
        why = tuple(reasons.get(row.identity.index, "") for row in rows)
        return cls(dataset_fingerprint(rows), hashes, tuple(scores), why, tuple(row.unsafe for row in rows))

    def save(self, path: Path) -> None:
        """As parquet, with the data's fingerprint in it."""
        columns = {"content_hash": self.content_hashes, "score": self.scores, "reason": self.reasons}
        unsafe = pd.array(list(self.unsafe), dtype="boolean")
        _write(pd.DataFrame({**columns, "unsafe": unsafe}), path, self.fingerprint)

    @classmethod
    def load(cls, path: Path) -> "Ranking":
        """Of a ranking, or of a selection, whose rows all get their chance again. Raises DataError if the file is neither."""
        frame, fingerprint = _read(path, ("content_hash", "score", "reason"))
        unsafe = frame["unsafe"] if "unsafe" in frame else [None] * len(frame)
        labels = tuple(None if pd.isna(label) else bool(label) for label in unsafe)
        reasons = tuple("" if reason.startswith(_BELOW) else reason for reason in frame["reason"])
        return cls(fingerprint, tuple(frame["content_hash"]), tuple(frame["score"]), reasons, labels)


@dataclass(frozen=True)
class Selection:
    """The rows of D that are kept, as the contract's `selection.parquet`. `rows` are indices into the unfiltered data."""

    fingerprint: str
    rows: tuple[int, ...]
    table: pd.DataFrame

    def save(self, path: Path) -> None:
        """Write `selection.parquet`, whole."""
        _write(self.table, path, self.fingerprint)

    @classmethod
    def load(cls, path: Path) -> "Selection":
        """Raises DataError if the file is no selection."""
        table, fingerprint = _read(path, COLUMNS)
        return cls(fingerprint, tuple(table.loc[table["selected"], "row"].tolist()), table)

    @property
    def unsafe_share(self) -> float | None:
        """Share of unsafe rows among the kept ones; None where a label is missing or no row is kept."""
        labels = self.table.loc[self.table["selected"], "unsafe"] if "unsafe" in self.table else pd.Series([None])
        return None if not len(labels) or labels.isna().any() else float(labels.astype(bool).mean())

    def apply(self, rows: Sequence[Example]) -> list[Example]:
        """The kept rows. Raises DataError if `rows` is not the data that was selected from, row by row."""
        if dataset_fingerprint(rows) != self.fingerprint:
            source = rows[0].identity.source if rows else "an empty dataset"
            raise DataError(
                f"the selection was made on data with fingerprint {self.fingerprint} ({len(self.table)} rows), but {source} "
                f"has fingerprint {dataset_fingerprint(rows)} ({len(rows)} rows); rank and select on this data instead."
            )
        return [rows[place] for place in self.rows]


def keep_top(ranking: Ranking, percent: float) -> Selection:
    """The ceil(percent * N / 100) rows of largest score, ties by row index; unusable rows are never kept."""
    scores_N = torch.tensor(ranking.scores, dtype=torch.float64)
    eligible_N = torch.tensor([not reason for reason in ranking.reasons])
    kept_N = top_percent(scores_N, percent, eligible_N)
    reasons = [
        reason or ("" if kept else f"{_BELOW}{percent:g} %")
        for reason, kept in zip(ranking.reasons, kept_N.tolist(), strict=True)
    ]
    table = pd.DataFrame(
        {
            "row": range(len(scores_N)),
            "content_hash": ranking.content_hashes,
            "score": scores_N.numpy(),
            "rank": ranks(scores_N, eligible_N).numpy(),
            "selected": kept_N.numpy(),
            "reason": reasons,
            "unsafe": pd.array(list(ranking.unsafe), dtype="boolean"),
        }
    )
    return Selection(ranking.fingerprint, tuple(kept_N.nonzero().flatten().tolist()), table)


def save_rows(rows: Sequence[Example], path: Path) -> None:
    """Rows by what identifies them (index in their source, content hash), with the fingerprint of just these rows."""
    columns = {"row": [row.identity.index for row in rows], "content_hash": [row.content_hash for row in rows]}
    _write(pd.DataFrame(columns), path, dataset_fingerprint(rows))


def _write(frame: pd.DataFrame, path: Path, fingerprint: str) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"raysafe.fingerprint": fingerprint.encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.aside")
    pyarrow.parquet.write_table(table, aside)
    aside.replace(path)


def _read(path: Path, columns: Sequence[str]) -> tuple[pd.DataFrame, str]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: can't be read as parquet ({error}).") from error
    fingerprint = (table.schema.metadata or {}).get(b"raysafe.fingerprint", b"").decode()
    missing = [name for name in columns if name not in table.column_names]
    if missing or not fingerprint:
        raise DataError(f"{path}: no selection of raysafe's: it lacks {', '.join(missing) or 'the data fingerprint'}.")
    return table.to_pandas(), fingerprint
