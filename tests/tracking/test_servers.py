"""A real MLflow server over PostgreSQL that is killed, absent or slow: afterwards it holds what an undisturbed one holds.

Compared point by point: runs, parameters, tags, every metric's history with steps, values and times, artifacts, datasets, models.
"""

import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from recorded import written
from servers import MlflowServer

from raysafe.errors import ConfigError, DataError
from raysafe.sweep.lock import held
from raysafe.sweep.syncing import sync
from raysafe.tracking import Backlog, MlflowTracker, Teller

GRID = {"selector.gamma": [0.1, 0.5], "objective": ["sft", "wdoor"]}
AWAY_S = 1.0
"""Before it is started again, which takes it some seconds more."""


def held_by(tracker: MlflowTracker) -> dict[str, Any]:
    """Everything of an experiment, by run; ids of runs give way to their kind and key."""
    client, experiment = tracker._client, tracker._experiment_id
    runs = list(client.search_runs([experiment], max_results=1000))
    known = {run.info.run_id: f"{run.data.tags['raysafe.kind']}:{run.data.tags['raysafe.key']}" for run in runs}
    assert len(set(known.values())) == len(runs), "no run is there twice"

    def named(text: str) -> str:
        for id, name in known.items():
            text = text.replace(id, name)
        return re.sub(rf"experiments/{experiment}\b", "experiments/N", text)

    def points(run: Any, name: str) -> list[tuple[int, float, int]]:
        return [(point.step, point.value, point.timestamp) for point in client.get_metric_history(run.info.run_id, name)]

    def whole(run: Any) -> dict[str, Any]:
        return {
            "info": (run.info.run_name, run.info.status, run.info.start_time, run.info.end_time),
            "params": run.data.params,
            "tags": {name: named(text) for name, text in run.data.tags.items()},
            "metrics": {name: sorted(points(run, name)) for name in run.data.metrics},
            "artifacts": sorted(files(client, run.info.run_id, "")),
            "datasets": sorted((item.dataset.name, item.dataset.digest) for item in run.inputs.dataset_inputs),
            "models": len(run.outputs.model_outputs) if run.outputs else 0,
        }

    return {known[run.info.run_id]: whole(run) for run in runs}


def files(client: Any, run: str, folder: str) -> Iterator[tuple[str, int]]:
    for item in client.list_artifacts(run, folder):
        if item.is_dir:
            yield from files(client, run, item.path)
        else:
            yield item.path, item.file_size


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a sweep's backlog, of which nobody has been told."""
    storage = tmp_path_factory.mktemp("storage")
    written(storage, grid=GRID)
    return storage


@pytest.fixture(scope="module")
def undisturbed(served: MlflowServer, storage: Path) -> dict[str, Any]:
    """What a server holds that was told without a fault."""
    tracker = MlflowTracker(served.address, "undisturbed")
    teller = Teller(Backlog(storage / "recorded"), "undisturbed", lambda: tracker)
    teller.begin()
    assert teller.drain(60.0)
    record = held_by(tracker)
    trials = [run for name, run in record.items() if name.startswith("trial:")]
    assert len(record) == 7 and [len(run["metrics"]["train/loss"]) for run in trials] == [3] * 4
    return record


def telling(served: MlflowServer, storage: Path, name: str) -> Teller:
    """A teller at work, with an experiment of its own."""
    teller = Teller(Backlog(storage / "recorded"), name, lambda: MlflowTracker(served.address, name))
    teller.begin()
    return teller


def until_told(teller: Teller, share: float) -> None:
    while teller.position < share * len(teller.backlog.entries):
        time.sleep(0.01)


@pytest.mark.training
def test_a_server_that_is_killed_and_comes_back_holds_the_same(served: MlflowServer, storage: Path, undisturbed: Any) -> None:
    teller = telling(served, storage, "killed")
    until_told(teller, 0.4)
    served.kill()
    timer = threading.Timer(AWAY_S, served.start)
    timer.start()
    assert teller.drain(60.0) and teller.refused == []
    timer.join()
    assert held_by(MlflowTracker(served.address, "killed")) == undisturbed


@pytest.mark.training
def test_what_a_server_has_missed_is_told_by_sync(served: MlflowServer, storage: Path, undisturbed: Any) -> None:
    folder = storage / "synced"
    shutil.copytree(storage / "recorded", folder)
    teller = Teller(Backlog(folder), served.address, lambda: MlflowTracker(served.address, "synced"))
    teller.begin()
    until_told(teller, 0.6)
    served.kill()
    assert not teller.drain(0.5) and teller.missing > 0, "it doesn't come back while the sweep lives"
    away = sync(folder, served.address, patience_s=0.5)
    assert away.exit_code == 1 and "still missing" in str(away)
    served.start()
    told = sync(folder, served.address)
    assert told.exit_code == 0 and told.told == away.missing and str(told).endswith("the record is whole")
    assert held_by(MlflowTracker(served.address, "synced")) == undisturbed
    assert "had the whole record already" in str(sync(folder, served.address))


@pytest.mark.training
def test_a_slow_server_holds_the_same(served: MlflowServer, storage: Path, undisturbed: Any) -> None:
    with served.slow():
        assert telling(served, storage, "slow").drain(60.0)
    assert held_by(MlflowTracker(served.address, "slow")) == undisturbed


def test_a_running_sweep_is_told_of_by_its_driver_alone(storage: Path) -> None:
    with held(storage / "recorded"), pytest.raises(ConfigError, match="is running"):
        sync(storage / "recorded", "http://127.0.0.1:9")


def test_a_folder_without_a_record_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds a sweep's record"):
        sync(tmp_path / "none")
    assert not (tmp_path / "none").exists()
