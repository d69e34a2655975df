"""One MLflow database for all tests here, since making its tables takes seconds; every test has an experiment of its own."""

from itertools import count
from pathlib import Path

import pytest

from raysafe.tracking import MlflowTracker, store_uri

_NUMBERS = count()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return store_uri(tmp_path_factory.mktemp("a store"))


@pytest.fixture
def experiment() -> str:
    return f"sweep{next(_NUMBERS)}"


@pytest.fixture
def mlflow_tracker(store: str, experiment: str) -> MlflowTracker:
    return MlflowTracker(store, experiment)


@pytest.fixture
def a_file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.txt"
    path.write_text("row\n")
    return path
