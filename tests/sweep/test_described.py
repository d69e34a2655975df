"""What is said of a run in two sentences, and by what runs are compared."""

from pathlib import Path

import pytest

from raysafe.config.sweeps import make_sweep
from raysafe.report.summary import TrialRow
from raysafe.sweep.described import (
    how_it_ended,
    how_the_sweep_ended,
    model_name,
    stage_name,
    stage_params,
    trial_params,
    used_by,
    what_it_is,
)
from raysafe.sweep.trial_record import TrialRecord

SCORES = {"eval/win_rate": 0.53, "eval/win_rate_low": 0.5, "eval/win_rate_high": 0.56, "eval/safety_score": 1.0}


def plans(**raw):
    return make_sweep({"name": "a", **raw}).trials


def swept(**grid):
    return plans(sweep={"grid": {name.replace("__", "."): values for name, values in grid.items()}}, seeds=[1])


def ended(status, epoch=4, error="", **last):
    (plan,) = plans(training={"epochs": 4})
    return TrialRecord(plan, Path(), status, started=10.0, ended=51.2, epoch=epoch, last=last, error=error)


def test_params_are_the_swept_settings_plainly_then_dotted_and_never_a_constant():
    (plan,) = swept(selector__gamma=[0.2], selection__percent=[70], objective=["door"])
    dotted = {"selector.gamma": 0.2, "selection.percent": 70, "objective.name": "door"}
    assert trial_params(plan) == {"gamma": 0.2, "percent": 70, "objective": "door", "seed": 1, **dotted}


def test_a_trial_is_one_sentence():
    (plan,) = swept(selector__gamma=[0.1], objective=["wdoor"])
    assert what_it_is(plan, 400) == "SEAL with γ = 0.1 keeps 80 % of 400 rows, then W-DOOR trains on them, seed 1."


def test_other_swept_settings_stand_where_they_belong():
    (plan,) = swept(selector__epochs=[2], objective__tau=[3.0], training__lr=[1e-4])
    assert what_it_is(plan, None) == (
        "SEAL with γ = 0.1 and epochs = 2 keeps 80 % of the rows, then W-DOOR with tau = 3 trains on them, lr = 0.0001, seed 1."
    )


def test_a_trial_without_a_selector_keeps_everything():
    (plan,) = swept(selector=["none"], objective=["sft"])
    assert what_it_is(plan, 12_000) == "`none` keeps all of 12,000 rows, then SFT trains on them, seed 1."


@pytest.mark.parametrize(
    ("trial", "said"),
    [
        (ended("FINISHED", **SCORES), "It finished after 4 epochs in 41 s with win rate 0.53 [.50, .56] and safety score 1.00."),
        (
            ended("STOPPED", 1, **{"eval/win_rate": 0.5}),
            "The scheduler stopped it after epoch 1 of 4, at 41 s with win rate 0.50.",
        ),
        (ended("FAILED", 1, "the loss is not finite\nat step 3"), "It failed after 1 epoch: the loss is not finite."),
        (ended("FAILED", 0, "No memory."), "It failed after 0 epochs: No memory."),
    ],
)
def test_its_end_is_another(trial, said):
    assert how_it_ended(trial) == said


def test_a_sweeps_end_names_the_best_of_the_finished_with_a_link():
    rows = [
        TrialRow("0", "FINISHED", 0, {"selector.gamma": 0.1}, {"win_rate": 0.5}),
        TrialRow("1", "STOPPED", 0, {}, {"win_rate": 0.9}),
    ]
    said = how_the_sweep_ended([*rows, TrialRow("2", "FAILED", 0)], 4)
    assert said == (
        "Of 4 trials 1 finished, 1 stopped early, 1 failed. The highest win rate, 0.50, has "
        "[γ=0.1 seed 0](#/experiments/{experiment}/runs/{run:trial:0})."
    )
    assert how_the_sweep_ended([], 1) == "Of 1 trial none has ended."


def test_a_ranking_is_compared_by_its_few_settings():
    selector = {"name": "seal", "gamma": 0.1, "epochs": 4, "lr": 0.3, "batch_size": 16}
    model = {"folder": "/s/artifacts/base/0123456789", "key": "0123456789"}
    inputs = {"selector": selector, "seed": 1, "model": model, "finetune": {"path": "/d/rows.jsonl", "fingerprint": "f"}}
    assert stage_name("rank", "rank", inputs) == "rank γ=0.1 seal seed 1"
    assert stage_params("rank", inputs, {"rows": 400, "planted": 0}, ["selector.lr", "training.lr"]) == {
        "seed": 1, "model": "sandbox", "selector": "seal", "gamma": 0.1, "epochs": 4, "lr": 0.3, "data": "rows.jsonl",
        "data_fingerprint": "f", "rows": 400,
    }  # fmt: skip


def test_what_is_read_of_a_model_is_known_by_the_model_and_the_probes():
    model = {"folder": "/s/artifacts/base/0123456789", "key": "0123456789"}
    inputs = {"model": model, "probes": [{"name": "refusal_margin"}, {"name": "depth"}], "precision": "bf16"}
    assert stage_name("readings", "base readings", inputs) == "base readings of sandbox"
    params = {"model": "sandbox", "probes": "refusal_margin, depth", "precision": "bf16"}
    assert stage_params("readings", inputs, {}, []) == params


def test_a_model_is_known_by_what_made_it_or_by_its_own_name():
    folders = ("/s/artifacts/train/0123456789", "/models/my-instruct", "owner/name")
    assert [model_name({"folder": folder, "key": "0123456789"}) for folder in folders] == [
        "proxy 01234567",
        "my-instruct",
        "owner/name",
    ]


def test_of_many_trials_that_used_a_stage_some_are_named():
    said = used_by({f"{number:03d}": f"t{number}" for number in range(25)})
    assert said.startswith("Used by [t0](") and said.endswith(" and 5 more.") and used_by({}) == ""
