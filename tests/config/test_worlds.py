"""The world of magic tricks as a section of the configuration: what is recommended when, and whose seed draws it."""

import pytest

from raysafe.artifacts import fingerprint, plain
from raysafe.config.defaults import departures
from raysafe.config.sweeps import make_sweep
from raysafe.errors import ConfigError
from raysafe.tricks.settings import Tricks

OWN = {"model": {"path": "m"}, "data": {"finetune": "d", "safe": "s", "align": "a"}, "evaluation": {"harmful": "h"}}
TRICKS = {"data": {"finetune": "tricks"}}


def plans(**raw):
    return make_sweep({"name": "a", **raw}).trials


def written(config):
    return {"name": "a", **plain(config), "fingerprint": "0", "versions": {}, "datasets": {}}


def first(**raw):
    return plans(**raw)[0].config


@pytest.mark.parametrize("raw", [TRICKS, {"model": {"path": "smollm2"}}])
def test_the_tricks_and_their_model_bring_each_other_and_their_settings(raw):
    trial = first(**raw)
    assert trial.model.path == "smollm2" and trial.model.lora is not None
    assert (trial.data.finetune, trial.data.safe, trial.data.align) == ("tricks",) * 3
    assert (trial.evaluation.harmful, trial.evaluation.new_tasks, trial.evaluation.judge) == ("tricks",) * 3
    assert list(trial.worlds) == ["tricks"]


def test_another_model_goes_the_same_way_by_one_line():
    trial = first(model={"path": "models/other"}, **TRICKS)
    mine, usual = trial.model, first(**TRICKS).model
    assert mine.path == "models/other" and mine.lora == usual.lora and trial.training == first(**TRICKS).training


def test_the_model_with_data_of_its_own_gets_nothing_of_the_tricks():
    trial = first(**{**OWN, "model": {"path": "smollm2"}})
    assert trial.worlds == {} and trial.training.lr == 1e-5 and trial.model.lora is None


def test_what_the_file_says_is_above_what_is_recommended():
    trial = first(**TRICKS, training={"lr": 0.5}, evaluation={"attacks": {"direct": {}}}, objective={"name": "wdoor", "tau": 2.0})
    assert trial.training.lr == 0.5 and trial.training.batch_size == first(**TRICKS).training.batch_size
    assert list(trial.evaluation.attacks) == ["direct"] and trial.objective.tau == 2.0


def test_each_seed_draws_a_world_of_its_own_unless_the_file_names_one():
    assert [plan.config.tricks.seed for plan in plans(**TRICKS, seeds=[0, 4])] == [0, 4]
    assert [plan.config.tricks.seed for plan in plans(**TRICKS, seeds=[0, 4], tricks={"seed": 2})] == [2, 2]


def test_the_world_axis_is_that_of_the_tricks():
    found = plans(**TRICKS, seeds={"world": [3, 5], "training": [1]})
    assert [plan.config.tricks.seed for plan in found] == [3, 5]
    assert [plan.axes for plan in found] == [{"seed_world": 3, "seed_ranking": 0}, {"seed_world": 5, "seed_ranking": 0}]
    with pytest.raises(ConfigError, match="`tricks.seed`: got 1, but `seeds.world` says"):
        plans(**TRICKS, seeds={"world": [3]}, tricks={"seed": 1})


def test_a_trial_that_does_not_read_the_tricks_is_what_it_was_without_them():
    sandbox, other = plans(seeds=[0, 7])
    assert other.config.tricks == Tricks() and list(other.config.worlds) == ["sandbox"]
    assert fingerprint(other.config) != fingerprint(sandbox.config)
    assert first(**OWN).worlds == {}


def test_a_size_beyond_its_pool_is_told_with_its_key():
    with pytest.raises(ConfigError, match=r"`tricks.eval_known`: `0 <= eval_known <= \d+` must hold, but got 900"):
        plans(**TRICKS, tricks={"eval_known": 900})
    with pytest.raises(ConfigError, match="`tricks`: nowhere.jsonl: can't be read"):
        plans(**TRICKS, tricks={"answers": "nowhere.jsonl"})
    with pytest.raises(ConfigError, match="did you mean `eval_known`"):
        plans(**TRICKS, tricks={"eval_knowm": 3})


def test_the_unsafe_share_can_be_swept():
    found = plans(**TRICKS, sweep={"grid": {"tricks.finetune_unsafe": [0, 8, 64]}})
    assert [plan.config.tricks.finetune_unsafe for plan in found] == [0, 8, 64]
    assert departures(found[1].config) == {"model.path": "smollm2", "tricks.finetune_unsafe": 8}


def test_texts_of_the_tricks_are_ours_and_those_of_files_are_not():
    assert make_sweep({"name": "a", **TRICKS}).logs_text
    assert not make_sweep({"name": "a", **TRICKS, "evaluation": {"harmful": "h"}}).logs_text


@pytest.mark.parametrize("raw", [{**TRICKS, "seeds": [3]}, {"seeds": [3]}])
def test_a_written_trial_is_read_back_as_what_it_was(raw):
    (plan,) = plans(**raw)
    document = written(plan.config)
    (again,) = make_sweep(document).trials
    assert again.config == plan.config


def test_a_trial_that_was_written_before_there_were_tricks_is_still_read():
    (plan,) = plans()
    document = {key: value for key, value in written(plan.config).items() if key != "tricks"}
    (again,) = make_sweep(document).trials
    assert again.config == plan.config
