"""What raysafe writes of a configuration can be run as it is, from anywhere, and says what has changed since."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from small import small_trial

from raysafe.artifacts import MemoryStore, Store
from raysafe.commands.base import single
from raysafe.config.sweeps import load_sweep, make_sweep
from raysafe.config.written import located
from raysafe.errors import ConfigError
from raysafe.stages.inputs import find_inputs
from raysafe.sweep.folder import claim, refuse_taken, tasks_of
from raysafe.sweep.written import changes, former_fingerprint, sweep_document, sweep_fingerprint, trial_document

SWEEPS = sorted((Path(__file__).parents[2] / "sweeps").glob("*.yaml"))
NOTHING = SimpleNamespace(data=dict, model=None, ranker=None, prompts={}, reference=None)


def written(path, value):
    path.write_text(yaml.safe_dump(value, sort_keys=False))
    return path


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_written_sweep_has_the_same_trials(path, tmp_path):
    sweep = load_sweep(path)
    again = load_sweep(written(tmp_path / "sweep.yaml", sweep_document(sweep, {plan.name: NOTHING for plan in sweep.trials})))
    assert again.trials == sweep.trials and sweep_fingerprint(again) == sweep_fingerprint(sweep)
    assert (again.name, again.question, again.scheduler, again.resources) == (
        sweep.name, sweep.question, sweep.scheduler, sweep.resources,
    )  # fmt: skip


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_written_trial_is_that_trial(path, tmp_path):
    for plan in load_sweep(path).trials:
        (again,) = load_sweep(written(tmp_path / "config.yaml", trial_document("t", plan.config, NOTHING))).trials
        assert again.config == plan.config


def test_a_trial_of_an_earlier_version_has_no_name_and_no_facts(tmp_path):
    (plan,) = make_sweep(small_trial("model")).trials
    document = trial_document("t", plan.config, NOTHING)
    later = ("name", "fingerprint", "versions", "machine", "datasets", "models", "relative_to", "evaluations")
    bare = {key: value for key, value in document.items() if key not in later}
    assert load_sweep(written(tmp_path / "config.yaml", bare)).trials[0].config == plan.config


def test_relative_paths_start_from_where_the_sweep_was_started(tmp_path, monkeypatch):
    sweep = make_sweep(small_trial("models/m", data={"finetune": "rows.jsonl"}))
    path = written(tmp_path / "sweep.yaml", sweep_document(sweep, {sweep.trials[0].name: NOTHING}))
    here, identity = Path.cwd(), sweep_fingerprint(sweep)
    monkeypatch.chdir(tmp_path)
    again = load_sweep(path)
    config = again.trials[0].config
    assert (config.model.path, config.data.finetune, config.data.safe) == (f"{here}/models/m", f"{here}/rows.jsonl", "sandbox")
    assert sweep_fingerprint(again) == identity != sweep_fingerprint(sweep)


@pytest.mark.parametrize(("given", "elsewhere"), [("smollm2", "smollm2"), ("m.gguf", "/there/m.gguf"), ("hf://a/b", "hf://a/b")])
def test_a_model_that_is_fetched_by_its_name_is_no_path(given, elsewhere):
    ranker = {"selection": {"model": {"path": given}}}
    config = located(make_sweep(small_trial(given, **ranker)).trials[0].config, Path("/there"))
    assert (config.model.path, config.selection.model.path) == (elsewhere, elsewhere)


@pytest.mark.parametrize("key", ["fingerprint", "versions", "datasets", "trials", "seed", "machine", "relative_to"])
def test_what_a_written_file_says_of_itself_is_no_key_of_a_configuration(key):
    with pytest.raises(ConfigError, match=f"`{key}`: unknown key"):
        make_sweep({"name": "t", key: 0})


def test_a_written_file_may_have_no_other_unknown_key(tmp_path):
    sweep = make_sweep({"name": "t"})
    path = written(tmp_path / "sweep.yaml", {**sweep_document(sweep, {}), "trails": {}})
    with pytest.raises(ConfigError, match="`trails`: unknown key"):
        load_sweep(path)


@pytest.fixture
def sweep(model_folder):
    return make_sweep(small_trial(model_folder))


def test_a_sweep_goes_on_from_its_own_file_and_from_that_of_an_earlier_version(sweep, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    claim(sweep, folder, tasks_of(sweep, folder, Store(tmp_path)))
    refuse_taken(load_sweep(folder / "sweep.yaml"), folder, resume=True)
    former = yaml.safe_load((folder / "sweep.yaml").read_text()) | {"fingerprint": former_fingerprint(sweep)}
    written(folder / "sweep.yaml", former)
    refuse_taken(sweep, folder, resume=True)
    with pytest.raises(ConfigError, match="other trials than this file"):
        refuse_taken(load_sweep(folder / "sweep.yaml", ["training.lr=0.5"]), folder, resume=True)


def test_what_has_changed_since_is_told_and_nothing_else(sweep):
    inputs = find_inputs(sweep.trials[0].config, MemoryStore())
    facts = trial_document("t", sweep.trials[0].config, inputs)
    assert changes(facts, [inputs]) == [] and changes({}, [inputs]) == []
    facts["versions"]["torch"], facts["machine"]["kernels"] = "1.0", "ABACUS"
    facts["datasets"]["finetune"] = {"rows.jsonl": "0123"}
    facts["models"]["model"] = {"a folder": "4567"}
    data, model, torch, kernels = changes(facts, [inputs])
    assert model.startswith("the weights or files of model have changed") and model.endswith(", then 4567")
    assert "the rows of finetune have changed" in data and "then 0123" in data
    assert torch.startswith("version of torch: ") and torch.endswith(", then 1.0")
    assert kernels.startswith("kernels of this machine: ") and kernels.endswith(", then ABACUS")


def test_a_written_trial_is_what_single_commands_run(sweep, tmp_path):
    path = written(tmp_path / "config.yaml", trial_document("t", sweep.trials[0].config, NOTHING))
    one = single(Namespace(file=str(path), overrides=["training.epochs=7"]))
    assert one.trials[0].config == replace(sweep.trials[0].config, training=replace(sweep.trials[0].config.training, epochs=7))
