"""Links to comparisons, of stores that are there, away, slow or broken."""

import time
from pathlib import Path

import pytest

from raysafe.tracking import MlflowTracker, links, store_uri
from raysafe.tracking.comparison import views_of
from raysafe.tracking.links import comparison_link, server_of


def test_a_sweep_with_views_is_linked_to_its_comparison(store: str, experiment: str, mlflow_tracker: MlflowTracker) -> None:
    mlflow_tracker.view(views_of({"gamma": 2}, ["eval/safety_score"])[0])
    link = comparison_link(store, experiment, "http://127.0.0.1:5001", 60.0)
    assert link is not None and link.startswith(
        f"http://127.0.0.1:5001/#/experiments/{mlflow_tracker._experiment_id}/runs?viewState"
    )


def test_a_sweep_of_an_older_version_is_linked_to_its_runs(store: str, experiment: str, mlflow_tracker: MlflowTracker) -> None:
    link = comparison_link(store, experiment, patience_s=60.0)
    assert link == f"http://127.0.0.1:5000/#/experiments/{mlflow_tracker._experiment_id}/runs?workflowType=machine_learning"


def test_the_sweep_begun_last_comes_first(store: str, experiment: str) -> None:
    MlflowTracker(store, f"{experiment}-old")
    time.sleep(0.01)
    MlflowTracker(store, f"{experiment}-new")
    assert [name for name, _ in links.links(store)][:2] == [f"{experiment}-new", f"{experiment}-old"]


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "postgresql://nobody@127.0.0.1:9/none", "odd"])
def test_a_store_that_is_away_costs_no_more_than_the_patience(uri: str) -> None:
    since = time.monotonic()
    assert comparison_link(uri, "s", patience_s=0.5) is None and time.monotonic() - since < 2


def test_looking_for_a_sweep_makes_no_database(tmp_path: Path) -> None:
    assert comparison_link(store_uri(tmp_path), "s", patience_s=60.0) is None and list(tmp_path.iterdir()) == []


def test_a_password_is_in_no_link() -> None:
    assert server_of("https://me:secret@host:5000/mlflow") == "https://host:5000/mlflow" and server_of("sqlite:////x") is None
