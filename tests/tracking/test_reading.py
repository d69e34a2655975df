"""A trial's run as a store gives it back."""

import pytest

from raysafe.errors import InputError
from raysafe.tracking.base import RunSpec
from raysafe.tracking.mlflow.reading import recorded_run


@pytest.fixture
def runs(mlflow_tracker, tmp_path):
    """A sweep's run and a trial's, with a file each."""
    sweep = mlflow_tracker.start(RunSpec("sweep", "s", "s"))
    trial = mlflow_tracker.start(RunSpec("trial", "000-a", "γ=0.1", sweep))
    for run, name in ((sweep, "sweep.yaml"), (trial, "config.yaml"), (trial, "other.txt")):
        (tmp_path / name).write_text(name)
        mlflow_tracker.artifact(run, tmp_path / name)
    for step, value in ((1, 0.25), (2, 0.75)):
        mlflow_tracker.log(trial, step, {"eval/win_rate": value})
    mlflow_tracker.end(trial, "STOPPED")
    return sweep, trial


def test_a_trials_run_comes_with_its_last_scores_and_its_configuration(runs, store, experiment, tmp_path):
    folder = tmp_path / "read"
    folder.mkdir()
    found = recorded_run(store, runs[1], folder)
    assert (found.run_id, found.sweep, found.name, found.status) == (runs[1], experiment, "000-a", "STOPPED")
    assert found.metrics["eval/win_rate"] == 0.75
    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "sweep.yaml"]


def test_a_run_that_is_not_there_or_no_trials_is_refused(runs, store, tmp_path):
    with pytest.raises(InputError, match="knows no such run"):
        recorded_run(store, "0" * 32, tmp_path)
    with pytest.raises(InputError, match="this run is a sweep's"):
        recorded_run(store, runs[0], tmp_path)
