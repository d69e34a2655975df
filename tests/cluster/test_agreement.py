"""Real sweeps with early stops, and one whose driver is killed: desk, `summary.csv` and MLflow say the same, point by point."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter

import psutil
import pytest
import yaml
from agreement import check_agreement, untimed
from freed import everything_is_free
from mlflow.tracking import MlflowClient
from rich.console import Console
from small import small_trial

from raysafe.cluster.groups import Groups
from raysafe.cluster.running import RunOptions, run_sweep
from raysafe.config.sweeps import load_sweep, make_sweep
from raysafe.report.live import LiveTable
from raysafe.report.summary import SUMMARY, read_summary
from raysafe.sweep.events import JobChanged, JobState, PointTold
from raysafe.sweep.status import status_of

LRS = [1e-2, 3e-3, 1e-3, 1e-4, 1e-6, 1e-7]


def points(uri, experiment, kind):
    """{key: [(metric, step, value)]} of all runs of a kind."""
    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id], f"tags.`raysafe.kind` = '{kind}'")
    found = {}
    for run in runs:
        histories = [client.get_metric_history(run.info.run_id, name) for name in run.data.metrics]
        found[run.data.tags["raysafe.key"]] = [(row.key, row.step, row.value) for rows in histories for row in rows]
    return found


def stopped_early(uri, experiment):
    """Keys of the trials that the tracker has as stopped."""
    client = MlflowClient(uri)
    query = "tags.`raysafe.status` = 'STOPPED' and tags.`raysafe.kind` = 'trial'"
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id], query)
    return sorted(run.data.tags["raysafe.key"] for run in runs)


def none_runs(uri, experiment):
    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return "RUNNING" not in {run.info.status for run in runs}


def held_by(uri, experiment):
    """What runs hold beside points, by name: parameters, names of tags, files, tables, datasets, checkpoints."""
    client = MlflowClient(uri)
    id = client.get_experiment_by_name(experiment).experiment_id
    models = Counter(model.source_run_id for model in client.search_logged_models([id]))
    found = {}
    for run in client.search_runs([id]):
        tags, files = run.data.tags, [file.path for file in client.list_artifacts(run.info.run_id)]
        tables = [item["path"] for item in json.loads(tags.get("mlflow.loggedArtifacts", "[]"))]
        inputs = sorted((item.dataset.name, item.dataset.digest) for item in run.inputs.dataset_inputs)
        held = (run.data.params, sorted(set(tags) - {"raysafe.reused"}), sorted(files), sorted(tables), inputs)
        found[run.info.run_name] = (*held, models[run.info.run_id])
    return found


@pytest.fixture
def log(monkeypatch):
    """A copy of all that the desks' logs held."""
    kept, events = [], Groups.events

    def copied(groups, since):
        fresh = events(groups, since)
        kept.extend(fresh)
        return fresh

    monkeypatch.setattr(Groups, "events", copied)
    return kept


ASHA = {"name": "asha", "metric": "train_loss", "mode": "min"}


@pytest.mark.usefixtures("ray_here", "no_pictures")
@pytest.mark.parametrize(("name", "seed", "fresh_every"), [("first", 0, 12), ("other", 1, None), ("again", 0, None)])
def test_an_asha_sweep_is_recorded_as_it_was_and_gives_everything_back(random_model, storage, log, name, seed, fresh_every):
    """The last takes from the store what the first made; which trials are stopped depends on who comes first. On its way through
    the first, the group starts anew, since it has had its number of jobs."""
    sweep = make_sweep(
        small_trial(
            random_model, name=name, objective="sft", selector={"name": "random"}, training={"epochs": 5}, scheduler=ASHA,
            seeds=[seed], sandbox={"seed": 0}, resources={"groups": 1, "concurrent_trials": 2, "fresh_every": fresh_every},
            sweep={"grid": {"training.lr": LRS}},
        )
    )  # fmt: skip
    result = run_sweep(sweep, RunOptions(storage=storage), LiveTable(Console(quiet=True)))
    rows = read_summary(result.folder / SUMMARY)
    assert len(rows) == len(LRS) and {row.status for row in rows} == {"FINISHED", "STOPPED"} and result.exit_code == 0
    assert everything_is_free()
    stopped = [row for row in rows if row.status == "STOPPED"]
    assert all(row.figures["epochs"] < 5 and "win_rate" in row.figures for row in stopped)
    assert {row.figures["epochs"] for row in rows if row not in stopped} == {5}
    assert stopped_early(result.tracking_uri, name) == [row.trial for row in stopped]
    jobs = [event for event in log if isinstance(event, JobChanged) and event.state is JobState.RUNNING]
    assert fresh_every is None or len(jobs) > fresh_every
    check_agreement(log, rows, points(result.tracking_uri, name, "trial"))
    stages = points(result.tracking_uri, name, "stage")
    of_stages = [event for event in log if isinstance(event, PointTold) and event.trial is None]
    told = {(event.job.rpartition("-")[2], name, event.step) for event in of_stages for name in event.metrics if "/" in name}
    kept = Counter((key, name, step) for key, rows in stages.items() for name, step, _ in rows)
    assert told <= kept.keys() and set(kept.values()) <= {1} and none_runs(result.tracking_uri, name)


@pytest.fixture
def file(random_model, tmp_path):
    path = tmp_path / "small.yaml"
    grid = {"grid": {"training.lr": [1e-3, 2e-3, 3e-3]}}
    path.write_text(
        yaml.safe_dump(
            small_trial(random_model, objective="sft", selector={"name": "random"}, training={"epochs": 8}, sweep=grid)
        )
    )
    return path


def kill_after(process, text, count):
    """kill -9 once so many lines with `text` were said; its workers follow."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if sum(text in line for line in lines) == count:
            break
    else:
        raise AssertionError("".join(lines))
    workers = [child for child in psutil.Process(process.pid).children(recursive=True) if "RayTrainWorker" in child.name()]
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert workers and [worker for worker in alive if worker.status() != psutil.STATUS_ZOMBIE] == []


def sweep_process(file, storage, *more):
    command = [sys.executable, "-m", "raysafe.cli", "sweep", str(file), "--storage", str(storage), *more]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "RAY_ADDRESS": ""}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def without_times(found):
    timed = ("train/tokens_per_s", "seconds/", "system/")
    return {key: sorted(row for row in rows if not row[0].startswith(timed)) for key, rows in found.items()}


def test_a_sweep_whose_driver_is_killed_has_in_the_end_the_record_of_an_undisturbed_one(ray_here, file, tmp_path):
    with sweep_process(file, tmp_path / "killed") as process:
        kill_after(process, ", epoch", 6)
    left = status_of(tmp_path / "killed" / "small")
    assert left.state == "interrupted" and any(trial.status == "INTERRUPTED" for trial in left.progress.trials)
    with sweep_process(file, tmp_path / "killed", "--resume") as process:
        said = process.communicate(timeout=300)[0]
    assert process.returncode == 0, said
    run_sweep(load_sweep(file), RunOptions(storage=tmp_path / "undisturbed"), LiveTable(Console(quiet=True)))
    uris = {name: f"sqlite:///{tmp_path / name / 'mlflow.db'}" for name in ("killed", "undisturbed")}
    assert all(none_runs(uri, "small") for uri in uris.values())
    for kind in ("trial", "stage"):
        one, other = (without_times(points(uri, "small", kind)) for uri in uris.values())
        assert one == other, kind
    assert held_by(uris["killed"], "small") == held_by(uris["undisturbed"], "small")
    one, other = (read_summary(tmp_path / name / "small" / SUMMARY) for name in uris)
    assert list(map(untimed, one)) == list(map(untimed, other))
