"""A ranking and a selection as files: hash-keyed, every row of the unfiltered data with its fate."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from raysafe.artifacts import whole
from raysafe.data.records import Example, dataset_fingerprint
from raysafe.errors import DataError
from raysafe.selection import ranks, top_percent

COLUMNS = ("row", "content_hash", "score", "rank", "selected", "reason")
PLANTED = "planted"
"""Why a planted row is not kept, however high it ranks."""
_BELOW = "below the top "


@dataclass(frozen=True)
class Ranking:
    """Scores of D's rows, one of each a row of the unfiltered data: `reasons` say why a row can't be used, or are empty;
    `unsafe` are the labels, None where unknown. Behind D's own rows come those that were planted, if any were; the
    fingerprint is that of D's own. `warnings`: what whoever uses it must know."""

    fingerprint: str
    content_hashes: tuple[str, ...]
    scores: tuple[float, ...]
    reasons: tuple[str, ...]
    unsafe: tuple[bool | None, ...]
    planted: tuple[bool, ...]
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, rows: Sequence[Example], scores: Sequence[float], reasons: Mapping[int, str], warnings: Sequence[str] = ()
    ) -> "Ranking":
        """The ranking of some rows; `reasons` by row index."""
        hashes = tuple(row.content_hash for row in rows)
        why = tuple(reasons.get(row.identity.index, "") for row in rows)
        labels, planted = tuple(row.unsafe for row in rows), tuple(row.planted for row in rows)
        own = dataset_fingerprint(row for row in rows if not row.planted)
        return cls(own, hashes, tuple(scores), why, labels, planted, tuple(warnings))

    def save(self, path: Path) -> None:
        """As parquet, with the data's fingerprint and the warnings in it."""
        columns = {"content_hash": self.content_hashes, "score": self.scores, "reason": self.reasons}
        labels = {"unsafe": pd.array(list(self.unsafe), dtype="boolean"), "planted": self.planted}
        _write(pd.DataFrame({**columns, **labels}), path, self.fingerprint, self.warnings)

    @classmethod
    def load(cls, path: Path) -> "Ranking":
        """Of a ranking, or of a selection, whose rows all get their chance again. Raises DataError if the file is neither."""
        frame, fingerprint, warnings = _read(path, ("content_hash", "score", "reason"))
        unsafe = frame["unsafe"] if "unsafe" in frame else [None] * len(frame)
        labels = tuple(None if pd.isna(label) else bool(label) for label in unsafe)
        reasons = tuple("" if reason.startswith(_BELOW) or reason == PLANTED else reason for reason in frame["reason"])
        planted = tuple(map(bool, frame["planted"])) if "planted" in frame else (False,) * len(frame)
        return cls(fingerprint, tuple(frame["content_hash"]), tuple(frame["score"]), reasons, labels, planted, warnings)


@dataclass(frozen=True)
class Selection:
    """The rows of D that are kept, as the contract's `selection.parquet`. `rows` are indices into the unfiltered data."""

    fingerprint: str
    rows: tuple[int, ...]
    table: pd.DataFrame
    warnings: tuple[str, ...] = ()
    """Those of the ranking."""

    def save(self, path: Path) -> None:
        """Write `selection.parquet`, whole."""
        _write(self.table, path, self.fingerprint, self.warnings)

    @classmethod
    def load(cls, path: Path) -> "Selection":
        """Raises DataError if the file is no selection."""
        table, fingerprint, warnings = _read(path, COLUMNS)
        return cls(fingerprint, tuple(table.loc[table["selected"], "row"].tolist()), table, warnings)

    @property
    def total(self) -> int:
        """Number of D's own rows, kept or not."""
        return len(self.table) - (int(self.table["planted"].sum()) if "planted" in self.table else 0)

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
                f"the selection was made on data with fingerprint {self.fingerprint} ({self.total} rows), but {source} "
                f"has fingerprint {dataset_fingerprint(rows)} ({len(rows)} rows); rank and select on this data instead."
            )
        return [rows[place] for place in self.rows]


def keep_top(ranking: Ranking, percent: float) -> Selection:
    """The ceil(percent * N / 100) of D's N own rows of largest score, ties by row index; unusable rows are never kept.

    Planted rows are not counted in N and never kept, so that with them the same rows of D are kept as by its own scores alone;
    their `rank` is that among all rows.
    """
    scores_N = torch.tensor(ranking.scores, dtype=torch.float64)
    eligible_N = torch.tensor([not reason for reason in ranking.reasons])
    own_N = ~torch.tensor(ranking.planted)
    kept_N = torch.zeros_like(own_N)
    kept_N[own_N] = top_percent(scores_N[own_N], percent, eligible_N[own_N])
    reasons = [
        reason or (PLANTED if planted else "" if kept else f"{_BELOW}{percent:g} %")
        for reason, planted, kept in zip(ranking.reasons, ranking.planted, kept_N.tolist(), strict=True)
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
            "planted": ranking.planted,
        }
    )
    return Selection(ranking.fingerprint, tuple(kept_N.nonzero().flatten().tolist()), table, ranking.warnings)


def kept_rows(path: Path) -> tuple[str, np.ndarray]:
    """The fingerprint of D and a mask of its rows, bool, from a `selection.parquet`; nothing else of the file is read."""
    frame, fingerprint, _ = _read(path, ("row", "selected"), alone=True)
    kept_N = np.zeros(len(frame), dtype=bool)
    kept_N[frame.loc[frame["selected"], "row"]] = True
    return fingerprint, kept_N


def save_rows(rows: Sequence[Example], path: Path) -> None:
    """Rows by what identifies them (index in their source, content hash), with the fingerprint of just these rows."""
    columns = {"row": [row.identity.index for row in rows], "content_hash": [row.content_hash for row in rows]}
    _write(pd.DataFrame(columns), path, dataset_fingerprint(rows))


def _write(frame: pd.DataFrame, path: Path, fingerprint: str, warnings: Sequence[str] = ()) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    own = {b"raysafe.fingerprint": fingerprint.encode()}
    own |= {b"raysafe.warnings": json.dumps(list(warnings)).encode()} if warnings else {}
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **own})
    with whole(path) as aside:
        pyarrow.parquet.write_table(table, aside)


def _read(path: Path, columns: Sequence[str], alone: bool = False) -> tuple[pd.DataFrame, str, tuple[str, ...]]:
    """The table with these columns, or with others, too, unless `alone`; fingerprint; warnings."""
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path, columns=list(columns) if alone else None)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: can't be read as parquet ({error}).") from error
    metadata = table.schema.metadata or {}
    fingerprint = metadata.get(b"raysafe.fingerprint", b"").decode()
    missing = [name for name in columns if name not in table.column_names]
    if missing or not fingerprint:
        raise DataError(f"{path}: no selection of raysafe's: it lacks {', '.join(missing) or 'the data fingerprint'}.")
    return table.to_pandas(), fingerprint, tuple(json.loads(metadata.get(b"raysafe.warnings", b"[]")))
