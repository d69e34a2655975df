"""Selections as artifacts: the top p % of a ranking, made once for all trials that keep the same, by whoever asks first."""

import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from raysafe.artifacts import FORMAT, OFF_KEY, Artifact, Artifacts, fingerprint, plain, whole
from raysafe.ranking.tables import Ranking, Selection, keep_top

KIND = "selection"
SELECTION_FILE = "selection.parquet"


@dataclass(frozen=True)
class Choice:
    """Which rows are kept: the top `percent` of the scores in a file, or without it the rows that a selection holds.

    source: the ranking's key, or what a file given by the user holds. path: the parquet file.
    """

    source: str
    path: str = field(metadata=OFF_KEY)
    percent: float | None

    @classmethod
    def of_ranking(cls, ranking: Artifact, percent: float) -> "Choice":
        """The top of what a rank stage made."""
        return cls(ranking.id, str(ranking.folder / "ranking.parquet"), percent)

    @classmethod
    def of_file(cls, path: Path, percent: float | None) -> "Choice":
        """What `selection.file` names."""
        return cls(hashlib.sha256(path.read_bytes()).hexdigest()[:32], str(path.absolute()), percent)

    def ranking(self) -> Ranking:
        """The scores that are selected by."""
        return Ranking.load(Path(self.path))

    def selection(self) -> Selection:
        """The kept rows. Raises DataError if the file is neither ranking nor selection."""
        return Selection.load(Path(self.path)) if self.percent is None else keep_top(self.ranking(), self.percent)


def selected(choice: Choice, store: Artifacts) -> Artifact:
    """The artifact with the kept rows, made here and now if it isn't there: it is a sort of one column, and needs no workers."""
    key = fingerprint([FORMAT, KIND, choice])
    with store.making(KIND, key, plain(choice)) as found:
        if found is not None:
            folder, result = found
            selection = choice.selection()
            selection.save(folder / SELECTION_FILE)
            result.update(rows=len(selection.rows), total=selection.total, unsafe_share=selection.unsafe_share)
    return store.artifact(KIND, key)


def keep_rows(choice: Choice, store: Artifacts, folder: Path) -> Selection:
    """The kept rows; `folder` gets a `selection.parquet` of its own, which stays if the store is swept out."""
    source = selected(choice, store).folder / SELECTION_FILE
    with whole(folder / SELECTION_FILE) as aside:
        shutil.copyfile(source, aside)
    return Selection.load(source)
