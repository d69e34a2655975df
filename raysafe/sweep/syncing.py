"""Telling a tracker afterwards what it has missed of a sweep, for `raysafe report DIR --sync`."""

from dataclasses import dataclass
from pathlib import Path

from raysafe.errors import DataError
from raysafe.sweep.lock import held
from raysafe.tracking.backlog import BACKLOG, PATIENCE_S, Backlog, Teller
from raysafe.tracking.base import without_password
from raysafe.tracking.memory import MemoryTracker
from raysafe.tracking.mlflow import MlflowTracker
from raysafe.tracking.stores import check_uri, store_uri

FIRST_WORD_S = 30.0
"""How long the store may take to say that it is none."""


@dataclass(frozen=True)
class Synced:
    """What has come of it. `told` and `missing`: entries; `refused`: what the tracker said to those that it won't take."""

    store: str
    told: int
    missing: int
    refused: tuple[str, ...]
    problem: str = ""

    @property
    def exit_code(self) -> int:
        """0 if nothing is missing."""
        return int(self.missing > 0)

    def __str__(self) -> str:
        if not self.told and not self.missing:
            return f"{self.store} has had the whole record already"
        rest = f", {self.missing} are still missing: {self.problem or 'see above'}" if self.missing else "; the record is whole"
        return f"{self.told} entries told to {self.store}{rest}"


def sync(folder: Path, uri: str | None = None, patience_s: float = PATIENCE_S) -> Synced:
    """Tell MLflow what it has not been told of the sweep in a folder. `uri`: the store; sqlite beside the folder if left out.

    Raises DataError where there is no record, ConfigError while the sweep runs: its driver tells it then.
    """
    if not (folder / BACKLOG).is_file():
        raise DataError(f"{folder}: has no {BACKLOG}, which holds a sweep's record. Name a sweep's folder, STORAGE/NAME.")
    folder = folder.absolute()
    uri = uri or store_uri(folder.parent)
    check_uri(uri)
    with held(folder):
        return sync_held(folder, uri, patience_s)


def sync_held(folder: Path, uri: str, patience_s: float = PATIENCE_S) -> Synced:
    """`sync`, by whoever holds the sweep's lock."""
    teller = Teller(Backlog(folder), uri, lambda: MlflowTracker(uri, folder.name))
    before = teller.missing
    teller.begin()
    teller.first_word(FIRST_WORD_S)
    teller.drain(patience_s)
    missing = teller.missing + len(teller.left)
    return Synced(without_password(uri), before - missing, missing, tuple(teller.refused), str(teller.problem or ""))


def has_been_told(folder: Path, uri: str) -> bool:
    """Whether a store has had some of the record of the sweep in a folder."""
    return (folder / BACKLOG).is_file() and Teller(Backlog(folder), uri, MemoryTracker).position > 0
