"""Selections of a sweep as people read them: rows with their texts, where trials differ, what every seed keeps."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from raysafe.data.loading import load_examples, load_triples
from raysafe.data.records import Example, dataset_fingerprint
from raysafe.data.references import planted_rows
from raysafe.errors import DataError
from raysafe.ranking.selecting import SELECTION_FILE
from raysafe.ranking.tables import Selection
from raysafe.report.summary import SUMMARY, read_summary
from raysafe.report.sweep_file import read_written
from raysafe.sweep.places import CONFIG, SWEEP, default_storage


@dataclass(frozen=True)
class RowSeen:
    """A row of the fine-tuning data. `text`: None where the data no longer holds what was ranked. `kept_by`: names of trials."""

    row: int
    content_hash: str
    score: float | None = None
    rank: int | None = None
    kept: bool | None = None
    reason: str = ""
    unsafe: bool | None = None
    kind: str | None = None
    source: str | None = None
    prompt: str | None = None
    response: str | None = None
    kept_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrialSeen:
    """A trial's selection."""

    name: str
    swept: Mapping[str, Any]
    seed: int | None
    selection: Selection
    ranks_by: int | None = None
    """The seed of its ranking, which is a training's own or that of an axis."""

    @property
    def kept_N(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which rows are kept."""
        return self.selection.table["selected"].to_numpy(dtype=bool)


@dataclass
class Texts:
    """The data behind a selection, by row and by content. `note`: why texts are missing, empty where none is."""

    rows: Mapping[int, Example] = field(default_factory=dict)
    by_content: Mapping[str, Example] = field(default_factory=dict)
    note: str = ""

    def of(self, row: int, content_hash: str) -> Example | None:
        """The row, if it still says what was ranked; if the file has been changed, wherever it stands now."""
        here = self.rows.get(row)
        return here if here is not None and here.content_hash == content_hash else self.by_content.get(content_hash)


def sweep_folder(given: Path) -> Path:
    """A sweep's folder, given as it is or by its name in the storage. Raises DataError if it has no selections."""
    for folder in (given, default_storage() / given):
        if any(folder.glob(f"trials/*/{SELECTION_FILE}")):
            return folder.absolute()
    raise DataError(f"{given}: no trial of a sweep has left a selection there. Give a sweep's folder, STORAGE/NAME.")


def selections_of(folder: Path) -> list[TrialSeen]:
    """Every trial that has selected, by name. Raises DataError for a broken file."""
    rows = {row.trial: row for row in read_summary(folder / SUMMARY)} if (folder / SUMMARY).exists() else {}
    found = []
    for path in sorted(folder.glob(f"trials/*/{SELECTION_FILE}")):
        name, row = path.parent.name, rows.get(path.parent.name)
        config = {} if row else read_written(path.parent / CONFIG)
        seed = row.seed if row else config.get("seed")
        by = (seed if row.seed_ranking is None else row.seed_ranking) if row else seed_of_ranking(config)
        found.append(TrialSeen(name, row.swept if row else {}, seed, Selection.load(path), by))
    return found


def named(trials: Sequence[TrialSeen], name: str) -> TrialSeen:
    """The trial of that name, or whose name alone begins with it. Raises DataError."""
    found = [trial for trial in trials if trial.name == name] or [trial for trial in trials if trial.name.startswith(name)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(trial.name for trial in found or trials[:20])
    raise DataError(f"{name}: {'several trials begin so' if found else 'no such trial with a selection'}; there are {known}.")


def texts_of(folder: Path, trial: TrialSeen) -> Texts:
    """What the trial ranked, looked up in the data that it names."""
    config = read_written(folder / "trials" / trial.name / CONFIG)
    data = config.get("datasets") or read_written(folder / SWEEP).get("datasets") or {}
    paths = {mark: path for path, mark in (data.get("finetune") or {}).items()}
    path = paths.get(trial.selection.fingerprint)
    if path is None:
        return Texts(note=f"It is not known where the data with fingerprint {trial.selection.fingerprint} lies.")
    try:
        rows = load_examples(path)
        note = "" if dataset_fingerprint(rows) == trial.selection.fingerprint else changed(path)
        rows = [*rows, *planted_of(config, data, len(rows))]
    except DataError as error:
        return Texts(note=f"Texts can't be shown: {error}")
    return Texts({row.identity.index: row for row in rows}, {row.content_hash: row for row in rows}, note)


def changed(path: str) -> str:
    """What is said of a file that is no longer what was ranked."""
    return f"{path} has changed since it was ranked: only rows that still say the same are shown with their text."


def planted_of(config: Mapping[str, Any], data: Mapping[str, Any], first: int) -> list[Example]:
    """The rows that were planted behind those of D."""
    count = (config.get("data") or {}).get("plant") or 0
    if not count or not data.get("align"):
        return []
    return planted_rows(load_triples(next(iter(data["align"]))), count, seed_of_ranking(config), first)


def seed_of_ranking(config: Mapping[str, Any]) -> int:
    """What a written trial ranked and selected by: a seed of its own, where it has one."""
    ranking = config.get("ranking_seed")
    return int(config.get("seed", 0) if ranking is None else ranking)


def seen(trial: TrialSeen, rows: Iterable[int], texts: Texts) -> list[RowSeen]:
    """Rows of a trial, by their places in its table."""
    return [_row(trial.selection.table.iloc[place], texts) for place in rows]


def _row(line: Any, texts: Texts) -> RowSeen:
    return replace(
        _without_rank(line, texts),
        score=float(line["score"]),
        rank=int(line["rank"]),
        kept=bool(line["selected"]),
        reason=line["reason"],
    )


def _without_rank(line: Any, texts: Texts) -> RowSeen:
    """What a row is, whoever ranks it."""
    row, content_hash, label = int(line["row"]), line["content_hash"], line.get("unsafe")
    unsafe = None if label is None or pd.isna(label) else bool(label)
    return RowSeen(row, content_hash, unsafe=unsafe, **_texts(texts.of(row, content_hash)))


def _texts(row: Example | None) -> dict[str, Any]:
    if row is None:
        return {}
    turns = row.prompt
    prompt = turns[0].content if len(turns) == 1 else "\n".join(f"{turn.role}: {turn.content}" for turn in turns)
    return {"prompt": prompt, "response": row.response, "kind": row.kind, "source": row.origin}


def top_and_bottom(trial: TrialSeen, count: int, texts: Texts) -> tuple[list[RowSeen], list[RowSeen]]:
    """The rows of best and worst rank, each from the best on."""
    order = trial.selection.table["rank"].to_numpy().argsort(kind="stable")
    top = order[:count]
    return seen(trial, top, texts), seen(trial, order[max(len(top), len(order) - count) :], texts)


@dataclass(frozen=True)
class Agreement:
    """What several selections of the same rows have in common: how many rows all, some and none of them keep."""

    trials: tuple[str, ...]
    all: int
    some: int
    none: int


def comparable(trials: Sequence[TrialSeen]) -> list[list[TrialSeen]]:
    """Trials that selected from the same rows, together; the largest company first."""
    groups: dict[tuple[str, int], list[TrialSeen]] = {}
    for trial in trials:
        groups.setdefault((trial.selection.fingerprint, trial.selection.total), []).append(trial)
    return sorted(groups.values(), key=len, reverse=True)


def agreement(trials: Sequence[TrialSeen]) -> Agreement:
    """Of trials that are comparable."""
    votes_N = votes(trials)
    every = int((votes_N == len(trials)).sum())
    none = int((votes_N == 0).sum())
    return Agreement(tuple(trial.name for trial in trials), every, len(votes_N) - every - none, none)


def votes(trials: Sequence[TrialSeen]) -> Any:
    """How many of the trials keep each of D's own rows, shape N."""
    return np.sum([trial.kept_N[: trial.selection.total] for trial in trials], axis=0)


def disputed(trials: Sequence[TrialSeen], count: int, texts: Texts) -> list[RowSeen]:
    """Rows that some of the trials keep and others don't, the most disputed first."""
    votes_N, half = votes(trials), len(trials) / 2
    places = np.flatnonzero((votes_N > 0) & (votes_N < len(trials)))
    order = sorted(places.tolist(), key=lambda place: (abs(votes_N[place] - half), place))
    return [told_apart(trials, place, texts) for place in order[:count]]


def best_and_worst(trials: Sequence[TrialSeen], count: int, texts: Texts) -> tuple[list[RowSeen], list[RowSeen]]:
    """Rows of best and worst mean rank over trials that are comparable."""
    total = trials[0].selection.total
    ranks_N = np.mean([trial.selection.table["rank"].to_numpy()[:total] for trial in trials], axis=0)
    order = ranks_N.argsort(kind="stable").tolist()
    top = order[:count]
    bottom = order[max(len(top), total - count) :]
    return [told_apart(trials, place, texts) for place in top], [told_apart(trials, place, texts) for place in bottom]


def alike(trials: Sequence[TrialSeen]) -> list[list[TrialSeen]]:
    """Trials that keep the same rows of the same data, together."""
    groups: dict[tuple[str, bytes], list[TrialSeen]] = {}
    for trial in trials:
        groups.setdefault((trial.selection.fingerprint, trial.kept_N.tobytes()), []).append(trial)
    return list(groups.values())


def told_apart(trials: Sequence[TrialSeen], place: int, texts: Texts) -> RowSeen:
    """A row with the names of the trials that keep it."""
    names = tuple(trial.name for trial in trials if trial.kept_N[place])
    return replace(_without_rank(trials[0].selection.table.iloc[place], texts), kept_by=names)


def kept_by_one(one: TrialSeen, other: TrialSeen, count: int, texts: Texts) -> list[RowSeen]:
    """Rows that `one` keeps and `other` doesn't, from the best of `one` on."""
    places = np.flatnonzero(one.kept_N & ~other.kept_N)
    ranks_N = one.selection.table["rank"].to_numpy()
    return seen(one, sorted(places.tolist(), key=lambda place: ranks_N[place])[:count], texts)


def by_setting(trials: Sequence[TrialSeen]) -> list[list[TrialSeen]]:
    """Trials that differ in nothing but the seed that ranked and selected, one a seed, where there are several and they ranked
    the same rows."""
    groups: dict[str, dict[int | None, TrialSeen]] = {}
    for trial in trials:
        groups.setdefault(repr(sorted(trial.swept.items(), key=str)), {}).setdefault(trial.ranks_by, trial)
    found = [list(group.values()) for group in groups.values()]
    return [group for group in found if len(group) > 1 and len(comparable(group)) == 1]
