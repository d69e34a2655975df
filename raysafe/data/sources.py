"""Files in, records of plain values out, each with the line it stands on."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from raysafe.errors import DataError

Record = dict[str, Any]


def read_records(path: str | Path) -> Iterator[tuple[str, Record]]:
    """(place, record) of every row; place is `FILE, line N` or `FILE, row N`, both counted from 1.

    Takes .jsonl, .json (a list of objects), .csv, .parquet, and folders written by `datasets.Dataset.save_to_disk`.
    Raises DataError naming file and line.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file. Data is a .jsonl, .json, .csv or .parquet file or a saved dataset's folder.")
    readers = {".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".parquet": _parquet}
    reader = _saved_dataset if path.is_dir() else readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: got a {path.suffix or 'nameless'} file, but data is read from {', '.join(readers)}.")
    try:
        yield from reader(path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: can't be read: {error}.") from error


def stamp(path: Path) -> tuple[tuple[Any, ...], ...]:
    """Name, size, time and inode of a file, or of all files of a folder; empty for what isn't there. What was read under one
    stamp need not be read again under it."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path] if path.exists() else []
    return tuple((file.name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for file in files for stat in [file.stat()])


def _jsonl(path: Path) -> Iterator[tuple[str, Record]]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            place = f"{path}, line {number}"
            try:
                yield place, _object(json.loads(line), place)
            except json.JSONDecodeError as error:
                raise DataError(f"{place}: not readable as JSON ({error.msg} at column {error.colno}).") from error


def _json(path: Path) -> Iterator[tuple[str, Record]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not readable as JSON ({error.msg}).") from error
    if not isinstance(rows, list):
        raise DataError(f"{path}: got a JSON {type(rows).__name__}, but it takes a list of objects.")
    for number, row in enumerate(rows, start=1):
        yield f"{path}, row {number}", _object(row, f"{path}, row {number}")


def _csv(path: Path) -> Iterator[tuple[str, Record]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, strict=True)
        for row in reader:
            place = f"{path}, line {reader.line_num}"
            if None in row or None in row.values():
                raise DataError(f"{place}: the number of fields differs from the header's {len(reader.fieldnames or [])}.")
            yield place, row


def _parquet(path: Path) -> Iterator[tuple[str, Record]]:
    import pyarrow
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: not readable as parquet ({error}).") from error
    for number, row in enumerate(rows, start=1):
        yield f"{path}, row {number}", row


def _saved_dataset(path: Path) -> Iterator[tuple[str, Record]]:
    from datasets import Dataset, load_from_disk

    try:
        rows = load_from_disk(str(path))
    except (FileNotFoundError, ValueError) as error:
        raise DataError(f"{path}: no folder written by `Dataset.save_to_disk` ({error}).") from error
    if not isinstance(rows, Dataset):
        raise DataError(f"{path}: holds several splits; give the folder of one.")
    for number, row in enumerate(rows, start=1):
        yield f"{path}, row {number}", dict(row)


def _object(value: Any, place: str) -> Record:
    if not isinstance(value, dict):
        raise DataError(f"{place}: got a JSON {type(value).__name__}, but a row is an object.")
    return value
