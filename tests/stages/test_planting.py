"""Known-bad rows planted in D: drawn, ranked, told of, and in no selection and no training."""

import json
from pathlib import Path

import pandas as pd
import pytest
import tiny
from small import small_trial

from raysafe.artifacts import Store, plain
from raysafe.config.sweeps import make_sweep
from raysafe.data.references import DataRef, ModelRef, planted_rows
from raysafe.errors import ConfigError, DataError
from raysafe.ranking.diagnosis import DIAGNOSIS_FILE, Diagnosis
from raysafe.ranking.tables import Ranking, Selection
from raysafe.stages.inputs import find_inputs
from raysafe.stages.making import stage_key
from raysafe.trial import Start, choice_of, here, rank_stage, recall_of, run_trial

TRIPLES = [tiny.triple(n, harmful=f"bad {n}") for n in range(10)]


def trial_of(model_folder, plant=3, **sections):
    data = {"max_length": 200, "plant": plant}
    raw = small_trial(model_folder, **{"objective": "sft", "selector": {"name": "loss"}, **sections})
    return make_sweep({**raw, "data": {**raw["data"], **data, **sections.get("data", {})}}).trials[0].config


def stage_of(trial, store):
    model = ModelRef("m", trial.model.path)
    return rank_stage(Start(trial, find_inputs(trial, store), model, model))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


def test_planted_rows_follow_ds_own_and_are_labelled():
    rows = planted_rows(TRIPLES, 4, seed=0, first=100)
    assert [row.identity.index for row in rows] == [100, 101, 102, 103]
    assert all(row.unsafe and row.planted and row.identity.source == "triples.jsonl" for row in rows)
    assert {(row.prompt, row.response) for row in rows} <= {(triple.prompt, triple.harmful) for triple in TRIPLES}


def test_they_are_drawn_without_replacement_by_the_seed():
    drawn = [tuple(row.response for row in planted_rows(TRIPLES, 5, seed, 0)) for seed in range(4)]
    assert len(set(drawn)) > 1 and all(len(set(rows)) == 5 for rows in drawn)
    assert {row.response for row in planted_rows(TRIPLES, 3, 0, 0)} < set(drawn[0])


def test_a_prefix_that_the_data_gives_belongs_to_the_harmful_answer():
    (row,) = planted_rows([tiny.triple(prefix="Sure, ", harmful="here is how.")], 1, 0, 0)
    assert row.response == "Sure, here is how."


def test_without_planted_rows_the_key_is_of_the_data_alone(model_folder, store):
    stage = stage_of(trial_of(model_folder, plant=0), store)
    assert type(stage.finetune) is DataRef
    assert plain(stage, for_key=True)["finetune"] == {"fingerprint": stage.finetune.fingerprint}


def test_number_and_seed_of_planted_rows_are_in_the_key(model_folder, store):
    keys = {stage_key(stage_of(trial_of(model_folder, plant=plant), store)) for plant in (0, 2, 3)}
    assert len(keys) == 3


def test_planting_needs_alignment_rows(model_folder):
    with pytest.raises(ConfigError, match=r"`data.plant`: got 3, but it takes 0 without `data.align`"):
        trial_of(model_folder, data={"align": None})


def test_planting_more_than_there_are_is_refused(model_folder, store):
    with pytest.raises(ConfigError, match=r"`data.plant`: got 1000, but it takes at most the 48 rows of `data.align`"):
        find_inputs(trial_of(model_folder, plant=1000), store)


@pytest.mark.parametrize("plant", [-1, 1.5, "many", None])
def test_planting_takes_a_whole_number(model_folder, plant):
    with pytest.raises(ConfigError, match=r"`data.plant`"):
        trial_of(model_folder, plant=plant)


def test_a_planted_prompt_may_not_be_one_of_the_evaluation(model_folder, store, tmp_path):
    align = find_inputs(trial_of(model_folder), store).align.triples()
    (tmp_path / "harmful.jsonl").write_text(json.dumps({"prompt": align[0].prompt[0].content, "harmful": "x y z w"}))
    with pytest.raises(DataError, match="also one of data.align"):
        find_inputs(trial_of(model_folder, evaluation={"harmful": str(tmp_path / "harmful.jsonl")}), store)


@pytest.fixture(scope="module")
def walked(model_folder, store, tmp_path_factory):
    """A trial with three planted rows, and its twin without, from end to end in this process."""
    folder = tmp_path_factory.mktemp("trials")
    fast = {"training": {"epochs": 1}, "evaluation": {"max_prompts": 2, "each_epoch": False}}
    results = {}
    for plant in (0, 3):
        trial = trial_of(model_folder, plant, **fast)
        results[plant] = run_trial(trial, store, folder / str(plant)), folder / str(plant)
    return results


def test_planted_rows_are_ranked_but_neither_kept_nor_trained_on(walked, store):
    table = pd.read_parquet(walked[3][1] / "selection.parquet")
    assert table["planted"].sum() == 3 and table["reason"].tolist()[-3:] == ["planted"] * 3
    assert not table["selected"][32:].any() and table["selected"].sum() == 26  # 80 % of D's own 32, rounded up
    assert walked[3][0].checkpoint.result["rows"]["retain"] == 26


def test_the_loss_keeps_the_same_rows_with_planted_ones_beside_them(walked):
    """Each row's score is its own, so that equal rows are kept and the training is shared."""
    assert walked[3][0].checkpoint == walked[0][0].checkpoint
    assert walked[3][0].unsafe_selected == walked[0][0].unsafe_selected
    assert walked[3][0].ranking_auc == walked[0][0].ranking_auc


def test_the_recall_of_planted_rows_is_recorded(walked):
    assert walked[0][0].planted_recall is None and 0 <= walked[3][0].planted_recall <= 1


def test_the_stage_leaves_its_diagnostics_and_tells_the_main_figures(walked, model_folder, store):
    stage = stage_of(trial_of(model_folder), store)
    artifact = here(store)(stage).wait().artifact
    told, result = Diagnosis.load(artifact.folder / DIAGNOSIS_FILE), artifact.result
    assert result["rows"] == 32 == told.rows and result["planted"] == 3 == told.planted and result["auc"] == told.auc
    assert result["planted_recall"]["80"] == walked[3][0].planted_recall and set(told.scores) == {"label", "source", "kind"}


def test_a_selector_that_keeps_all_keeps_no_planted_row(model_folder, store, tmp_path):
    trial = trial_of(model_folder, selector={"name": "none"})
    made = here(store)(stage_of(trial, store)).wait()
    ranking = Ranking.load(made.artifact.folder / "ranking.parquet")
    choice = choice_of(trial, made)
    assert choice.selection().rows == tuple(range(32)) and len(ranking.scores) == 35 and recall_of(choice) == 0.0


def test_seal_ranks_planted_rows_and_its_labels_stay_ds_own(model_folder, store):
    selector = {"name": "seal", "epochs": 1, "batch_size": 8, "safe_batch_size": 8, "model_lr": 1e-3}
    trial = trial_of(model_folder, selector=selector)
    artifact = here(store)(stage_of(trial, store)).wait().artifact
    told = Diagnosis.load(artifact.folder / DIAGNOSIS_FILE)
    assert told.auc is not None and told.planted == 3 and told.planted_recall["80"] is not None


def test_a_selection_file_made_with_planted_rows_serves_a_trial(walked, model_folder, store):
    file = str(walked[3][1] / "selection.parquet")
    trial = trial_of(model_folder, plant=0, selection={"file": file, "percent": 50})
    inputs = find_inputs(trial, store)
    made = here(store)(stage_of(trial, store)).wait()
    selection = choice_of(trial, made).selection()
    assert len(selection.rows) == 16 and len(selection.apply(inputs.finetune.examples())) == 16
    assert Selection.load(Path(file)).apply(inputs.finetune.examples())
