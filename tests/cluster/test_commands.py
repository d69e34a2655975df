"""The commands from end to end on real Ray: one trial, a selection, an evaluation, a report; Ctrl-C and going on."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pandas as pd
import psutil
import pytest
import yaml
from processes import listening
from small import small_trial

from raysafe.cli import main
from raysafe.cluster.groups import worker_groups
from raysafe.config.sections import Resources
from raysafe.config.sweeps import load_sweep
from raysafe.data.loading import load_examples
from raysafe.ranking.tables import Selection


@pytest.fixture(scope="module")
def group(ray_here, storage):
    """One group of one worker on the tests' storage."""
    with worker_groups(storage, Resources(groups=1)) as groups:
        yield groups


@pytest.fixture
def one_group(group, storage, monkeypatch):
    """Commands of one trial work with the group that is there: it takes longer to start than what they ask of it. One with a
    group of its own is `raysafe reproduce` in `test_sweep.py`."""

    @contextmanager
    def shared(folder, resources, may_grow):
        assert (folder, resources, may_grow) == (storage, Resources(groups=1), False)
        yield group

    monkeypatch.setattr("raysafe.cluster.running.worker_groups", shared)


@pytest.fixture
def file(random_model, tmp_path):
    """A small trial's file with a sweep section in it, which the single commands leave aside."""
    path = tmp_path / "small.yaml"
    grid = {"grid": {"training.lr": [1e-3, 2e-3]}}
    path.write_text(yaml.safe_dump(small_trial(random_model, objective="sft", sweep=grid)))
    return str(path)


def test_a_trial_prints_its_scores_and_leaves_its_files(one_group, file, storage, capsys):
    assert main(["trial", file, "--set", "training.epochs=1", "--storage", str(storage), "--json"]) == 0
    out, said = capsys.readouterr()
    assert "win_rate" in said and "asr_prefill_3" in said and "[0:00] reading" in said
    told = json.loads(out)
    assert told["selected_rows"] == 26 and 0 <= told["scores"]["asr_prefill_3"]["low"] <= 1
    (folder,) = (storage / "single").glob("small-*")
    assert load_sweep(folder / "config.yaml").trials[0].config.training.epochs == 1
    assert (folder / "checkpoint" / "model.safetensors").exists() and (folder / "selection.parquet").exists()
    assert 0 <= json.loads((folder / "scores.json").read_text())["win_rate"]["value"] <= 1


def test_a_selection_is_written_and_fits_its_data_only(one_group, file, storage, tmp_path, capsys):
    out = tmp_path / "kept.parquet"
    assert main(["select", file, "--out", str(out), "--set", "selection.percent=25", "--storage", str(storage)]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-1].startswith("8 of 32 rows selected") and "waiting for workers" in said.err
    (finetune,) = [path for path in storage.glob("artifacts/world/*/finetune.jsonl") if len(load_examples(path)) == 32]
    assert len(Selection.load(out).apply(load_examples(finetune))) == 8


def test_an_evaluation_scores_a_folder_against_the_base(one_group, file, storage, random_model, tmp_path, capsys):
    out = tmp_path / "scores.json"
    assert main(["evaluate", str(random_model), file, "--out", str(out), "--storage", str(storage), "-q"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{random_model}: win_rate 0.50, ") and said.out.count("\n") == 1 and said.err == ""
    assert json.loads(out.read_text())["win_rate"]["value"] == 0.5  # the base against itself: all ties


def sweep_process(file, storage, *more):
    command = [sys.executable, "-m", "raysafe.cli", "sweep", file, "--storage", str(storage), *more]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "RAY_ADDRESS": ""}
    return subprocess.Popen(listening(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def test_ctrl_c_ends_with_130_and_resume_goes_on(file, tmp_path):
    settings = ["--set", "training.epochs=30", "--set", "evaluation.each_epoch=false", "--set", "resources.groups=1"]
    process = sweep_process(file, tmp_path / "runs", *settings)
    seen = []
    told = next((line for line in process.stdout if seen.append(line) or "train, epoch" in line), None)
    assert told, "".join(seen)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=120)[0]
    assert process.returncode == 130 and "--resume" in rest, told + rest
    assert gone(children)
    before = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("artifacts/train/.*.partial/history.json")]
    assert any(before), told + rest

    again = sweep_process(file, tmp_path / "runs", *settings, "--resume")
    said = again.communicate(timeout=240)[0]
    assert again.returncode == 0, said
    table = pd.read_csv(tmp_path / "runs" / "small" / "summary.csv")
    assert table["status"].tolist() == ["FINISHED", "FINISHED"] and table["epochs"].tolist() == [30, 30]
    after = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("artifacts/train/[!.]*/history.json")]
    for rows in before:  # tokens a second are in them: no epoch was trained twice
        assert rows in [whole[: len(rows)] for whole in after]


def gone(processes):
    """Whether all of them end within some seconds."""
    _, alive = psutil.wait_procs(processes, timeout=60)
    return [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []
