"""A sweep around its trials: who may run it, and what becomes of its record; no Ray is started here."""

from pathlib import Path

import pytest
import yaml
from rich.console import Console
from small import small_trial

from raysafe.artifacts import MemoryStore, write_text
from raysafe.cli import main
from raysafe.cluster import running
from raysafe.cluster.running import RunOptions, catch_up, telling
from raysafe.config.sweeps import make_sweep
from raysafe.errors import InputError
from raysafe.report.summary import SUMMARY, TrialRow, write_summary
from raysafe.sweep.lock import held
from raysafe.sweep.places import SWEEP
from raysafe.sweep.tracked import TrackedRuns
from raysafe.tracking import Backlog, MemoryTracker

URI = "http://tracker"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(small_trial("no-model")))
    return str(path)


def test_a_sweep_that_is_running_is_refused_at_once_with_exit_code_2(file, tmp_path, capsys):
    with held(tmp_path / "runs" / "small"):
        assert main(["sweep", file, "--storage", str(tmp_path / "runs"), "--resume"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "runs/small is running since" in said and "as process" in said


def test_a_kind_of_store_that_mlflow_has_not_is_refused_before_anything_is_written(file, tmp_path, capsys):
    assert main(["sweep", file, "--storage", str(tmp_path / "runs"), "--tracking-uri", "htp://host:5000"]) == 2
    assert "--tracking-uri: got 'htp://host:5000'" in capsys.readouterr().err and not (tmp_path / "runs").exists()


class Tracker:
    """In place of MLflow: absent until it is `there`."""

    def __init__(self, monkeypatch):
        self.there, self.memory = False, MemoryTracker()
        monkeypatch.setattr(running, "MlflowTracker", self)
        monkeypatch.setattr(running, "PATIENCE_S", 0.1)

    def __call__(self, uri, name):
        if not self.there:
            raise OSError("no route to host")
        return self.memory


@pytest.fixture
def tracker(monkeypatch):
    return Tracker(monkeypatch)


def begun(folder):
    """The backlog of a sweep whose driver was killed behind its last trial."""
    backlog, sweep = Backlog(folder), make_sweep(small_trial("no-model"))
    write_text(folder / SWEEP, yaml.safe_dump(small_trial("no-model")))
    write_summary(folder / SUMMARY, [TrialRow(plan.name, "FINISHED", plan.config.seed) for plan in sweep.trials])
    TrackedRuns(backlog, MemoryStore()).start_sweep(sweep, folder)
    return backlog


def said_of(folder, uri=URI):
    console = Console(record=True, width=400, quiet=False, file=Path("/dev/null").open("w"))  # noqa: SIM115
    with telling(begun(folder), "small", uri, console):
        pass
    console.file.close()
    return console.export_text()


def test_what_an_absent_tracker_has_not_got_is_said_in_one_line(tracker, tmp_path):
    said = said_of(tmp_path)
    count = len(Backlog(tmp_path).entries)
    assert said.count("\n") == 1 and f"{count} of {count} entries of their record are not in MLflow yet" in said
    assert str(tmp_path / "tracking.jsonl") in said and "no route to host" in said
    assert f"`raysafe report {tmp_path} --sync --tracking-uri {URI}` tells them." in said


def test_a_tracker_that_has_got_all_is_not_spoken_of(tracker, tmp_path):
    tracker.there = True
    assert said_of(tmp_path) == ""


def test_resuming_a_sweep_that_is_done_ends_its_record_and_then_asks_nobody(tracker, tmp_path):
    sweep, options = make_sweep(small_trial("no-model")), RunOptions(storage=tmp_path, tracking_uri=URI)
    begun(tmp_path / "small")
    tracker.there = True
    assert catch_up(sweep, tmp_path / "small", options, Console(quiet=True)) is False
    assert tracker.memory.runs["sweep:small"].status == "FINISHED"
    tracker.there = False
    catch_up(sweep, tmp_path / "small", options, Console(quiet=True))  # a tracker that is away would take its time


def test_what_the_user_named_wrongly_is_told_before_a_sweep_begins(tracker, monkeypatch, tmp_path):
    def deleted(uri, name):
        raise InputError("the experiment has been deleted")

    monkeypatch.setattr(running, "MlflowTracker", deleted)
    with pytest.raises(InputError, match="deleted"), telling(Backlog(tmp_path), "small", URI, Console(quiet=True)) as teller:
        teller.first_word(20)
