"""`raysafe status`, from the files of a sweep alone: while it runs, after its end, after a kill, and of an older version."""

import json
import subprocess
import sys
import time

import pytest
import yaml

from raysafe.cli import main
from raysafe.report.progress import Progress, StageState, TrialState, write_progress
from raysafe.report.summary import TrialRow, write_summary
from raysafe.sweep.lock import held

DONE = TrialState("000-a", "FINISHED", "", 4, 4, {"win_rate": 0.5, "safety_score": 0.75}, 80.0)
TRAINING = TrialState("001-b", "RUNNING", "train", 1, 4, {"win_rate": 0.25}, 65.0, progress="1/4")
NOW = Progress((DONE, TRAINING), (StageState("proxy 8c", "proxy", 1, 2),), 3, "", 125.0, 60.0)


@pytest.fixture
def sweep(tmp_path):
    """A folder with two trials, told of just now."""
    folder = tmp_path / "runs" / "s"
    folder.mkdir(parents=True)
    (folder / "sweep.yaml").write_text(yaml.safe_dump({"name": "s", "trials": {"000-a": {}, "001-b": {}}}))
    write_progress(folder, NOW, time.time())
    return folder


def told(capsys, *arguments):
    assert main(["status", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def document(capsys, *arguments):
    (one,) = json.loads(told(capsys, *arguments, "--json"))["sweeps"]
    return one


def test_a_running_sweep_says_how_far_it_is_and_how_long_yet(sweep, capsys):
    with held(sweep):
        said = told(capsys, sweep)
        one = document(capsys, sweep.parent)
    for part in ("s  running  1 of 2 trials done, 1 running, 1:0", "about 2:0", "train 1/4", "0.25", "proxy 1/2", "as process"):
        assert part in said
    assert one["state"] == "running" and one["driver"]["process"] and 115 < one["left_s"] <= 125 and one["done"] == 1
    assert [trial["stage"] for trial in one["trials"]] == ["", "train"]


def test_a_driver_that_says_nothing_is_noticed(sweep, capsys):
    write_progress(sweep, NOW, time.time() - 90)
    with held(sweep):
        assert "last word was 1:3" in told(capsys, sweep)


def test_a_killed_sweep_is_interrupted_and_says_what_goes_on(sweep, capsys):
    said, one = told(capsys, sweep), document(capsys, sweep)
    command = f"raysafe sweep {sweep}/sweep.yaml --storage {sweep.parent} --resume"
    assert "interrupted" in said and command in said and "running" not in said
    assert one["resume"] == command and one["left_s"] is None and one["trials"][1]["status"] == "INTERRUPTED"


def test_a_finished_sweep_is_finished(sweep, capsys):
    write_progress(sweep, Progress((DONE,)), time.time())
    assert told(capsys, sweep).startswith("s  finished  1 of 1 trials done")


def test_a_sweep_without_a_word_of_its_driver_is_read_from_its_files(sweep, capsys):
    (sweep / "progress.json").unlink()
    write_summary(sweep / "summary.csv", [TrialRow("000-a", "FAILED", 0, {}, {"epochs": 2}, "out of memory")])
    one = document(capsys, sweep)
    assert (one["state"], one["total"], one["done"], one["failed"]) == ("interrupted", 2, 1, 1)


def test_a_sweep_that_only_starts_is_starting(tmp_path, capsys):
    with held(tmp_path / "runs" / "new"):
        assert document(capsys, tmp_path / "runs")["state"] == "starting"


def test_a_storage_lists_its_sweeps_those_that_run_first(sweep, capsys):
    with held(sweep.parent / "z"):
        said = told(capsys, sweep.parent)
    assert said.index("z  starting") < said.index("s  interrupted") and "2 sweeps in" in said and "1 running" in said


def test_an_empty_storage_has_none_and_a_missing_folder_is_refused(tmp_path, capsys):
    assert "no sweep in" in told(capsys, tmp_path)
    assert main(["status", str(tmp_path / "nothing")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_a_look_needs_nothing_heavy(sweep):
    look = "import sys; from raysafe.cli import main; main(sys.argv[1:]);"
    code = look + "print(sorted({'torch', 'ray', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code, "status", str(sweep), "-q"], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
