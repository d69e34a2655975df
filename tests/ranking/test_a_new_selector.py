"""A selector that trains, written in this file alone: one line in the table, and everything else takes it as it is."""

import io
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from rich.console import Console
from small import small_trial
from torch import Tensor

from raysafe.artifacts import Store
from raysafe.config.sweeps import make_sweep
from raysafe.errors import ConfigError
from raysafe.ranking.diagnosis import DIAGNOSIS_FILE, Diagnosis
from raysafe.ranking.tables import Ranking
from raysafe.selection import SELECTORS
from raysafe.selection.base import Learned
from raysafe.selection.seal import row_weights
from raysafe.stages.inputs import find_inputs
from raysafe.stages.making import History
from raysafe.sweep.plan import dry_run
from raysafe.trial import begin, here, rank_stage, run_trial


@dataclass(frozen=True)
class Omega:
    """What is learned; shape K."""

    omega_K: Tensor


@dataclass(frozen=True)
class Bds(Learned):
    """BDS (arXiv:2510.27172): theta on l(z_s) + mean_i w_i l_i, w = K softmax(omega); omega on mean_i w_i l_i, l detached."""

    name: ClassVar[str] = "bds"

    lr: float = 0.1
    model_lr: float = 1e-5
    epochs: int = 20
    batch_size: int = 10
    safe_batch_size: int = 10
    accumulation: int = 1

    def start(self, rows, seed):
        return Omega(torch.full((rows,), 0.1, dtype=torch.float64))

    def weights_of(self, state):
        return row_weights(state.omega_K, "softmax")

    def descent(self, model, losses, weights_B, epoch):
        return {"safe": losses["safe"], "finetune": weights_B.to(losses["finetune"].dtype) * losses["finetune"]}

    def updated(self, state, visit):
        pull_B = visit.losses["theta"] * visit.weights_K[visit.rows_B]
        slope_K = -visit.weights_K * pull_B.sum() / len(state.omega_K)
        return Omega(state.omega_K - self.lr * slope_K.index_add(0, visit.rows_B, pull_B))

    def scores_of(self, state):
        return state.omega_K


SETTINGS = {"name": "bds", "epochs": 2, "batch_size": 8, "safe_batch_size": 8, "model_lr": 1e-3}


@pytest.fixture(autouse=True)
def listed(monkeypatch):
    monkeypatch.setitem(SELECTORS, "bds", Bds)


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
