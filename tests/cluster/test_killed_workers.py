"""Workers are really killed, on observed progress: the stage is offered again, and nobody takes the death for its verdict."""

import psutil
import pytest
from small import small_trial

from raysafe.cluster.groups import worker_groups
from raysafe.config.sections import Resources
from raysafe.config.sweeps import make_sweep
from raysafe.stages.making import History
from raysafe.sweep.events import JobChanged, JobState
from raysafe.trial import run_trial

pytestmark = pytest.mark.usefixtures("ray_here")


def train_workers():
    """Ray Train's worker processes of this test's own Ray, rank 0 first: it holds the lock of what it makes."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "RayTrainWorker" in " ".join(process.cmdline()):
                found.append((not any(file.path.endswith(".lock") for file in process.open_files()), process))
        except psutil.Error:
            continue
    return [process for _, process in sorted(found, key=lambda pair: pair[0])]


def killed_after(epoch, rank):
    """An `on_point` that kills one rank once, when a training has told so many epochs; and the processes that it killed."""
    killed = []

    def on_point(point):
        label, _, metrics = point
        if label == "train" and metrics["epoch"] == epoch and not killed:
            killed.append(train_workers()[rank])
            killed[0].kill()

    return on_point, killed


@pytest.mark.parametrize(("workers", "rank", "epochs"), [(1, 0, 3), (2, 1, 40)], ids=["the one", "rank 1"])
def test_a_killed_worker_costs_an_attempt_and_nothing_else(random_model, tmp_path, workers, rank, epochs):
    sections = {"selector": {"name": "random"}, "training": {"epochs": epochs}, "evaluation": {"each_epoch": epochs == 3}}
    trial = make_sweep(small_trial(random_model, name="killed", objective="sft", **sections)).trials[0].config
    on_point, killed = killed_after(2, rank)
    with worker_groups(tmp_path, Resources(workers=workers, groups=1)) as groups:
        result = run_trial(trial, groups.store, tmp_path / "killed", groups.launcher("killed", on_point))
        changes = [event for event in groups.events(0) if isinstance(event, JobChanged) and event.label == "train"]
    assert len(killed) == 1
    assert [metrics["epoch"] for _, metrics in History.of(result.checkpoint)] == list(range(1, epochs + 1))
    assert [(change.state, change.attempt) for change in changes] == [
        (JobState.RUNNING, 1), (JobState.RUNNING, 2), (JobState.DONE, 2),
    ]  # fmt: skip
