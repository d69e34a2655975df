"""A tracked trial again: its configuration from its run, what has changed since, and old scores beside new ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysafe.config.reading import read_yaml
from raysafe.config.sweeps import make_sweep
from raysafe.config.trials import SweepConfig
from raysafe.config.written import FACTS, MORE_FACTS
from raysafe.errors import DataError
from raysafe.ranking.tables import Selection
from raysafe.tracking.recorded import RecordedRun

FOLDER = "reproduced"
"""Where trials are run again, under the storage."""


@dataclass(frozen=True)
class ScoreLine:
    """A score then and now, each with its interval where it has one. `equal`: to nine digits, as they are kept; `within`: each
    lies within the other's interval; None where there is none."""

    name: str
    then: float
    then_low: float | None
    then_high: float | None
    now: float
    now_low: float | None
    now_high: float | None

    @property
    def equal(self) -> bool:
        """Whether nothing has changed."""
        return abs(self.then - self.now) <= 1e-9

    @property
    def within(self) -> bool | None:
        """Whether chance among prompts explains the difference."""
        ends = (self.then_low, self.then_high, self.now_low, self.now_high)
        if None in ends:
            return True if self.equal else None
        then_low, then_high, now_low, now_high = (end for end in ends if end is not None)
        return self.equal or (then_low <= self.now <= then_high and now_low <= self.then <= now_high)


def configuration(run: RecordedRun) -> SweepConfig:
    """What the run was configured with, as a sweep of one trial, with the resources of its sweep. Raises InputError."""
    path = run.files / "config.yaml"
    if not path.exists():
        raise DataError(
            f"run {run.run_id} ({run.name}) has no config.yaml among its files: it can't be run again from its record."
        )
    raw = read_yaml(path)
    whole = read_yaml(run.files / "sweep.yaml") if (run.files / "sweep.yaml").exists() else {}
    facts = {key: value for key, value in whole.items() if key in (*FACTS, *MORE_FACTS) and key != "trials"}
    resources = {"resources": whole["resources"]} if "resources" in whole else {}
    own = {"name": run.sweep, **raw, **resources}
    if not all(key in raw for key in FACTS):  # written by an earlier version: its sweep's file has them
        own |= facts
    return make_sweep(own, f"{run.name}: config.yaml")


def fresh_folder(storage: Path, run_id: str) -> Path:
    """A folder that isn't there yet, for another attempt at a run: nothing that was made before is used in it."""
    number = 1
    while (folder := storage / FOLDER / f"{run_id[:8]}-{number}").exists():
        number += 1
    return folder.absolute()


def compared(then: Mapping[str, float], now: Mapping[str, float]) -> list[ScoreLine]:
    """Scores by name, those with intervals first. `then`: a run's metrics, `eval/NAME`; `now`: NAME with `_low` and `_high`."""
    old = {name.removeprefix("eval/"): value for name, value in then.items() if name.startswith("eval/")}
    names = [name for name in now if name in old and not name.endswith(("_low", "_high", "_n"))]
    return [
        ScoreLine(
            name,
            old[name],
            old.get(f"{name}_low"),
            old.get(f"{name}_high"),
            now[name],
            now.get(f"{name}_low"),
            now.get(f"{name}_high"),
        )
        for name in names
    ]


def selections_compared(then: Path, now: Path) -> dict[str, Any] | None:
    """How many rows were kept only then, only now, and both times, by content; None where a selection isn't on record."""
    if not then.exists() or not now.exists():
        return None
    kept = [set(_kept(Selection.load(path))) for path in (then, now)]
    return {"only_then": len(kept[0] - kept[1]), "only_now": len(kept[1] - kept[0]), "both": len(kept[0] & kept[1])}


def _kept(selection: Selection) -> list[tuple[int, str]]:
    rows = selection.table.loc[selection.table["selected"], ["row", "content_hash"]]
    return list(rows.itertuples(index=False, name=None))
