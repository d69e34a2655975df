"""A selector that trains, CONTRIBUTING.md's example: everything else takes it as it is."""

import importlib
import io
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from small import small_trial

from raysafe.artifacts import Store
from raysafe.config.sweeps import make_sweep
from raysafe.errors import ConfigError
from raysafe.ranking.diagnosis import DIAGNOSIS_FILE, Diagnosis
from raysafe.ranking.tables import Ranking
from raysafe.selection import SELECTORS
from raysafe.stages.inputs import find_inputs
from raysafe.stages.making import History
from raysafe.sweep.plan import dry_run
from raysafe.trial import begin, here, rank_stage, run_trial

SETTINGS = {"name": "bds", "epochs": 2, "batch_size": 8, "safe_batch_size": 8, "model_lr": 1e-3}


@pytest.fixture(autouse=True)
def listed(monkeypatch, tmp_path_factory):
    """Its file is imported from outside the package."""
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"^```python\n# raysafe/selection/bds.py\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    folder = tmp_path_factory.mktemp("selector")
    (folder / "bds.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "bds", raising=False)
    monkeypatch.setitem(SELECTORS, "bds", importlib.import_module("bds").Bds)


def sweep_of(model_folder, **settings):
    return make_sweep(small_trial(model_folder, objective="sft", selector={**SETTINGS, **settings}))


def ranked(model_folder, storage, **settings):
    """Its ranking's artifact."""
    trial, store = sweep_of(model_folder, **settings).trials[0].config, Store(storage)
    launch = here(store)
    return launch(rank_stage(begin(trial, find_inputs(trial, store), launch))).wait()


def test_its_ranking_is_made_told_of_and_kept(model_folder, tmp_path):
    made = ranked(model_folder, tmp_path)
    ranking, rows = Ranking.load(made.artifact.folder / "ranking.parquet"), History.of(made.artifact)
    assert len(set(ranking.scores)) == len(ranking.scores) == made.result.rows == 32
    assert [step for step, _ in rows] == [4, 8] and rows[0][1]["selector/auc"] > 0
    assert rows[0][1].keys() >= {"selector/safe_loss", "selector/finetune_loss", "selector/weight_std"}
    assert Diagnosis.load(made.artifact.folder / DIAGNOSIS_FILE).auc == made.result.auc == rows[1][1]["selector/auc"]


def test_its_settings_are_checked_and_counted(model_folder, tmp_path):
    with pytest.raises(ConfigError, match=r"`selector.batch_size`: got 8, .* workers \* accumulation = 3"):
        sweep_of(model_folder, accumulation=3)
    with pytest.raises(ConfigError, match=r"`selector.epochs`: `epochs > 0` must hold"):
        sweep_of(model_folder, epochs=0)
    console = Console(file=io.StringIO(), width=200)
    dry_run(sweep_of(model_folder), tmp_path, console)
    assert "rank (shared) │ 1 │ 0 │ 8 │ 128" in " ".join(console.file.getvalue().split()), "2 epochs of 4 steps of 8 + 8 rows"


def test_weights_that_never_move_are_warned_of(model_folder, tmp_path):
    made = ranked(model_folder, tmp_path, lr=1e-6)
    (warning,) = made.result.warnings
    assert "end within 1 % of each other" in warning
    assert Ranking.load(made.artifact.folder / "ranking.parquet").warnings == made.result.warnings


def test_a_trial_walks_from_end_to_end_with_it(model_folder, tmp_path):
    trial = sweep_of(model_folder, epochs=1).trials[0].config
    half = replace(trial, selection=replace(trial.selection, percent=50))
    result = run_trial(half, Store(tmp_path), tmp_path / "trial")
    assert result.selected_rows == 16 and 0 <= result.ranking_auc <= 1
