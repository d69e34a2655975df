"""What only MLflow has: nesting, statuses, the place of artifacts, and errors that say what to do."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from raysafe.errors import InputError, RaysafeError
from raysafe.tracking import MlflowTracker, Refused, RunSpec, store_uri
from raysafe.tracking.base import link_to, with_runs
from raysafe.tracking.stores import check_uri, sqlite_path

SWEEP, TRIAL = RunSpec("sweep", "s", "s"), RunSpec("trial", "000-a", "a")


def test_importing_the_package_does_not_import_mlflow() -> None:
    code = "import sys, raysafe.tracking; assert 'mlflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_trials_are_nested_under_their_sweep(mlflow_tracker: MlflowTracker) -> None:
    sweep = mlflow_tracker.start(SWEEP)
    trial = mlflow_tracker.start(RunSpec("trial", "000-a", "a", parent=sweep))
    assert mlflow_tracker._client.get_run(trial).data.tags["mlflow.parentRunId"] == sweep


def test_another_process_goes_on_in_the_same_runs(store: str, experiment: str) -> None:
    first = MlflowTracker(store, experiment).start(TRIAL)
    assert MlflowTracker(store, experiment).start(TRIAL) == first


def test_metrics_told_again_by_another_process_are_kept_once(store: str, experiment: str) -> None:
    for _ in range(2):
        tracker = MlflowTracker(store, experiment)
        run_id = tracker.start(TRIAL)
        tracker.log(run_id, 1, {"train/loss": 0.1 + 0.2})
    assert len(tracker._client.get_metric_history(run_id, "train/loss")) == 1


def test_the_same_key_in_another_experiment_is_another_run(store: str, experiment: str) -> None:
    assert MlflowTracker(store, experiment).start(TRIAL) != MlflowTracker(store, f"{experiment}b").start(TRIAL)


def test_a_deleted_run_is_not_gone_on_with(mlflow_tracker: MlflowTracker) -> None:
    first = mlflow_tracker.start(TRIAL)
    mlflow_tracker._client.delete_run(first)
    assert mlflow_tracker.start(TRIAL) != first


@pytest.mark.parametrize(
    ("status", "shown"), [("FINISHED", "FINISHED"), ("STOPPED", "FINISHED"), ("FAILED", "FAILED"), ("INTERRUPTED", "KILLED")]
)
def test_every_end_has_its_status_in_mlflow(mlflow_tracker: MlflowTracker, status, shown) -> None:  # type: ignore[no-untyped-def]
    run_id = mlflow_tracker.start(TRIAL)
    mlflow_tracker.end(run_id, status)
    assert mlflow_tracker._client.get_run(run_id).info.status == shown


def test_a_resumed_run_is_running_again(mlflow_tracker: MlflowTracker) -> None:
    mlflow_tracker.end(mlflow_tracker.start(TRIAL), "INTERRUPTED")
    assert mlflow_tracker._client.get_run(mlflow_tracker.start(TRIAL)).info.status == "RUNNING"


def test_a_link_to_another_run_is_one_on_mlflows_page(mlflow_tracker: MlflowTracker) -> None:
    trial = mlflow_tracker.start(TRIAL)
    mlflow_tracker.note(trial, {"description": with_runs(link_to("sweep:s", "the sweep"), lambda key: key.upper())})
    note = mlflow_tracker._client.get_run(trial).data.tags["mlflow.note.content"]
    assert note == f"[the sweep](#/experiments/{mlflow_tracker._experiment_id}/runs/SWEEP:S)"


def test_artifacts_lie_beside_the_database(store: str, a_file: Path, mlflow_tracker: MlflowTracker, experiment: str) -> None:
    run_id = mlflow_tracker.start(TRIAL)
    mlflow_tracker.artifact(run_id, a_file, "plots")
    database = sqlite_path(store)
    assert database is not None
    assert (database.parent / "mlartifacts" / experiment / run_id / "artifacts" / "plots" / "rows.txt").is_file()


def test_a_deleted_experiment_is_told_with_the_way_to_restore_it(store: str, experiment: str) -> None:
    tracker = MlflowTracker(store, experiment)
    tracker._client.delete_experiment(tracker._experiment_id)
    with pytest.raises(RaysafeError, match="mlflow experiments restore -x"):
        MlflowTracker(store, experiment)


def test_a_file_that_is_no_database_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database, but long enough to be read as a header of one" * 20)
    started = time.monotonic()
    with pytest.raises(RaysafeError, match=r"could not be opened: file is not a database\. Check") as caught:
        MlflowTracker(store_uri(tmp_path), "s")
    assert caught.value.__cause__ is not None
    assert time.monotonic() - started < 30


def test_a_server_that_does_not_answer_is_told_within_seconds_and_without_its_password() -> None:
    started = time.monotonic()
    with pytest.raises(RaysafeError, match="Check that the server of --tracking-uri answers") as caught:
        MlflowTracker("http://me:secret@127.0.0.1:9", "s")
    assert "secret" not in str(caught.value)
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("uri", ["file:///tmp/mlruns", "/tmp/mlruns", "htp://host:5000", "sqlite"])
def test_a_store_that_mlflow_has_no_kind_of_is_refused_at_once(uri: str) -> None:
    with pytest.raises(InputError, match="--tracking-uri: got .* but it takes a store of MLflow"):
        check_uri(uri)


@pytest.mark.parametrize("uri", ["sqlite:////x/mlflow.db", "https://me:pw@host", "postgresql+psycopg2://host/db", "databricks"])
def test_the_stores_that_mlflow_has_are_taken(uri: str) -> None:
    check_uri(uri)


def test_what_a_server_kept_without_an_answer_is_not_kept_twice(mlflow_tracker: MlflowTracker, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    run_id, log_batch = mlflow_tracker.start(TRIAL), mlflow_tracker._client.log_batch

    def kept_and_lost(*arguments: Any, **options: Any) -> None:
        log_batch(*arguments, **options)
        raise OSError("the answer got lost")

    with monkeypatch.context() as patch, pytest.raises(RaysafeError, match="the answer got lost"):
        patch.setattr(mlflow_tracker._client, "log_batch", kept_and_lost)
        mlflow_tracker.log(run_id, 1, {"train/loss": 1.0})
    mlflow_tracker.log(run_id, 1, {"train/loss": 1.0})
    assert len(mlflow_tracker._client.get_metric_history(run_id, "train/loss")) == 1


def test_a_run_has_the_times_at_which_it_was(mlflow_tracker: MlflowTracker) -> None:
    run_id = mlflow_tracker.start(TRIAL, 1000)
    mlflow_tracker.end(run_id, "FINISHED", time_ms=3000)
    info = mlflow_tracker._client.get_run(run_id).info
    assert (info.start_time, info.end_time) == (1000, 3000)


def test_an_unknown_run_is_a_raysafe_error(mlflow_tracker: MlflowTracker) -> None:
    with pytest.raises(Refused, match="keep the metrics of step 1"):
        mlflow_tracker.log("0" * 32, 1, {"train/loss": 1.0})
