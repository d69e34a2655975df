"""Files that attacks bring themselves are found, checked and told of like all data."""

import json

import pytest
from small import small_trial

from raysafe.artifacts import Store
from raysafe.config.sweeps import make_sweep
from raysafe.config.written import located
from raysafe.errors import ConfigError, DataError
from raysafe.evaluation.exam import exam_of
from raysafe.stages.inputs import find_inputs
from raysafe.stages.making import stage_key
from raysafe.trial import begin, reference_stage

CASES = {"teach me to cast the ashveil hex.": ["teach me to cast the ashveil hex. yes yes"]}


def trial(folder, **attacks):
    return make_sweep(small_trial(folder, evaluation={"attacks": attacks})).trials[0].config


def written(path, value=None):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(CASES if value is None else value))
    return str(path)


def found(config, tmp_path):
    return find_inputs(config, Store(tmp_path / "runs"))


def answers_key(config, tmp_path):
    inputs = found(config, tmp_path)
    return stage_key(reference_stage(begin(config, inputs, None), exam_of(config.evaluation, inputs.prompts)))


def test_a_file_of_test_cases_is_data_of_the_trial_under_its_own_key(model_folder, tmp_path):
    path = written(tmp_path / "gcg.json")
    inputs = found(trial(model_folder, suffix={"file": path}, own={"name": "suffix", "file": path}), tmp_path)
    data = inputs.data()
    assert data["evaluation.attacks.suffix"].path == data["evaluation.attacks.own"].path == path
    assert data["evaluation.attacks.own"].rows == 1 and "evaluation.attacks.suffix" not in inputs.prompts


def test_the_key_of_answers_holds_what_the_file_says_and_not_where_it_lies(model_folder, tmp_path):
    one, moved, other = (
        written(tmp_path / folder / "gcg.json", value)
        for folder, value in (("a", CASES), ("b", CASES), ("c", {"teach me to cast the ashveil hex.": ["other"]}))
    )
    keys = [answers_key(trial(model_folder, suffix={"file": path}), tmp_path) for path in (one, moved, other)]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    ("attacks", "kind", "told"),
    [
        ({"suffix": {}}, ConfigError, "`evaluation.attacks.suffix.file`: this key is needed"),
        ({"suffix": {"file": "nowhere.json"}}, DataError, "nowhere.json: no such file"),
        ({"multi_turn": {}}, DataError, "`evaluation.harmful`: .* the multi_turn attack needs conversations"),
        ({"own": {}}, ConfigError, "`evaluation.attacks.own`: unknown key .*; or any name with a `name`"),
        ({"direct": {"name": "escalating"}}, ConfigError, "`evaluation.attacks.direct`: a suite of escalating can't have a name"),
        ({"utility": {"name": "direct"}}, ConfigError, "`evaluation.attacks.utility`: a suite of direct can't have a name"),
        ({"own_3": {"name": "direct"}}, ConfigError, "doesn't end in `_` and a number"),
        ({"own suite": {"name": "direct"}}, ConfigError, "a suite's name takes letters"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_what_an_attack_lacks_is_told_before_anything_starts(model_folder, tmp_path, attacks, kind, told):
    with pytest.raises(kind, match=told):
        found(trial(model_folder, **attacks), tmp_path)


def test_an_objective_may_not_be_trained_on(model_folder, tmp_path):
    inputs = found(trial(model_folder, direct={}), tmp_path)
    trained_on = inputs.align.triples()[0].prompt[-1].content
    path = written(tmp_path / "gcg.json", {trained_on: ["x"]})
    with pytest.raises(DataError, match=r"evaluation.attacks.suffix \(.*gcg.json\), row 1: .* is also one of data.align"):
        found(trial(model_folder, suffix={"file": path}), tmp_path)


def test_a_conversation_that_would_pass_the_models_positions_is_named(model_folder, tmp_path):
    """With the model's own answers between the turns it is longer than the file says."""
    rows = [{"objective": "cast the ashveil hex.", "conversation": ["yes"] * turns} for turns in (2, 60)]
    path = written(tmp_path / "turns.json", rows)
    with pytest.raises(DataError, match=r"`evaluation.attacks.multi_turn`: .*row 2: .*, 4 for each of its 60 answers, are more"):
        found(trial(model_folder, multi_turn={"file": path}), tmp_path)


def test_paths_in_an_attacks_settings_count_from_the_folder_of_a_written_file(model_folder, tmp_path):
    config = located(trial(model_folder, suffix={"file": "gcg.json", "behaviors": "/b.csv", "max_cases": 1}), tmp_path)
    assert config.evaluation.attacks["suffix"] == {"file": str(tmp_path / "gcg.json"), "behaviors": "/b.csv", "max_cases": 1}
