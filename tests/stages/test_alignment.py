"""A model of somebody else's, taught a world's policy before any trial: what that changes, by what it is keyed, who shares it."""

import json
import shutil
from dataclasses import replace

import pytest
import tiny
import torch
from small import small_trial
from transformers import AutoModelForCausalLM

from raysafe.artifacts import MemoryStore
from raysafe.config.sections import Lora
from raysafe.config.sweeps import make_sweep
from raysafe.context import Context, local_context
from raysafe.data.loading import load_examples
from raysafe.data.references import ModelRef
from raysafe.data.tokens import encode_examples
from raysafe.errors import ConfigError, DataError, StageError, StageStopped
from raysafe.models.generation import greedy
from raysafe.models.loading import load_model
from raysafe.stages.alignment import AlignmentStage
from raysafe.stages.inputs import find_inputs
from raysafe.stages.making import make, stage_key
from raysafe.stages.starting import base_stage
from raysafe.sweep.described import base_name, stage_facts
from raysafe.training.engine import PlainEngine
from raysafe.training.export import save_checkpoint
from raysafe.trial import begin, here, rank_stage, run_trial
from raysafe.tricks.texts import refusals

FAST = {"base_steps": 6, "base_batch_size": 4, "base_lr": 3e-3, "base_tricks": 2, "seed": 1}
FAST |= {"base_refusals": 8, "base_benign": 8, "base_borderline": 12}
LONG = {"max_length": 256}


def trials(given, tricks=(), data=LONG, **sections):
    path = {"path": str(given), "align": "tricks", **sections.pop("model", {})}
    raw = small_trial(given, model=path, tricks={**FAST, **dict(tricks)}, data=dict(data), **sections)
    return [plan.config for plan in make_sweep(raw).trials]


def stage_of(given, store, **sections):
    (trial,) = trials(given, **sections)
    return base_stage(trial, find_inputs(trial, store))


@pytest.fixture(scope="module")
def store():
    return MemoryStore()


@pytest.fixture(scope="module")
def stage(model_folder, store):
    return stage_of(model_folder, store)


@pytest.fixture(scope="module")
def aligned(stage, store):
    return make(stage, store, local_context(), PlainEngine)


def loss(folder, stage, kind):
    """Mean negative log-likelihood of the labels of rows of a kind."""
    rows = [row for row in stage.rows.examples() if row.kind == kind]
    encoded, _ = encode_examples(rows, stage.model.chat(), stage.max_length)
    assert encoded
    log_probs = tiny.log_probs(load_model(str(folder)).eval(), encoded)
    return -torch.cat(log_probs).mean().item()


def test_refusals_become_likelier(stage, aligned, model_folder):
    assert loss(aligned.artifact.folder, stage, "refusal") < loss(model_folder, stage, "refusal")


def test_what_it_leaves_is_a_whole_model_with_changes_of_low_rank_where_adapters_were(stage, aligned, model_folder):
    folder = aligned.artifact.folder
    assert not (folder / "adapter_config.json").exists() and (folder / "model.safetensors").exists()
    before, after = (AutoModelForCausalLM.from_pretrained(one).state_dict() for one in (model_folder, folder))
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if any(f".{layer}." in name for layer in stage.lora.target_modules)}
    ranks = [torch.linalg.matrix_rank((after[name] - before[name]).double(), rtol=1e-3) for name in changed]
    assert max(ranks) <= stage.lora.r


def test_every_step_is_told(aligned, stage):
    told = json.loads((aligned.artifact.folder / "history.json").read_text())
    assert [row["step"] for row in told] == list(range(1, stage.steps + 1)) and all(row["metrics"]["loss"] > 0 for row in told)


def test_harmless_rows_are_rehearsed_in_the_models_own_words(stage, monkeypatch):
    """What is trained on is what the untouched model says, without an end where it was cut; refusals stay as they are."""
    seen = rows_trained_on(stage, monkeypatch)
    chat, kinds = stage.model.chat(), {row.identity.index: row for row in stage.rows.examples()}
    own = [row for row in seen if kinds[row.index].kind != "refusal"]
    assert len(own) == 20 and len(seen) == 28
    model = load_model(stage.model.folder)
    for row in own[:4]:
        prompt, said = row.input_ids[: row.label_start], row.input_ids[row.label_start :]
        assert list(prompt) == chat.prompt_ids(kinds[row.index].prompt)
        (answer,) = greedy(model, [prompt], chat.tokenizer.pad_token_id, chat.end_ids[-1], stage.own_tokens)
        assert list(said) == answer + (chat.end_ids if len(answer) < stage.own_tokens else [])
    refused = [row for row in seen if kinds[row.index].kind == "refusal"]
    assert {chat.decode(list(row.input_ids[row.label_start :])) for row in refused} == {refusals().short[0]}


def test_without_tokens_of_its_own_it_is_taught_the_files_answers(stage, monkeypatch):
    plain, _ = encode_examples(stage.rows.examples(), stage.model.chat(), stage.max_length)
    assert rows_trained_on(replace(stage, own_tokens=0), monkeypatch) == plain
    assert stage_key(replace(stage, own_tokens=0)) != stage_key(stage)


def rows_trained_on(stage, monkeypatch):
    seen = []
    monkeypatch.setattr(AlignmentStage, "_train", lambda self, engine, run, place: seen.extend(run.data.rows["retain"]))
    make(stage, MemoryStore(), local_context(), PlainEngine)
    return seen


def test_it_keeps_template_and_tokenizer(aligned, stage):
    chat = ModelRef("x", str(aligned.artifact.folder)).chat()
    assert chat.prompt_ids(tiny.ask("How?")) == stage.model.chat().prompt_ids(tiny.ask("How?"))


def test_it_can_be_stopped_between_two_steps(stage):
    told = []
    context = Context(lambda step, metrics: told.append(step) or step == 2, torch.device("cpu"))
    store = MemoryStore()
    with pytest.raises(StageStopped):
        make(stage, store, context, PlainEngine)
    assert told == [1, 2] and not store.all_of("base")


def test_trials_of_other_settings_share_it(model_folder, store, stage):
    others = [{"objective": "sft"}, {"training": {"lr": 0.5}}, {"selection": {"percent": 20}}, {"model": {"lora": {"r": 4}}}]
    assert {stage_key(stage_of(model_folder, store, **other)) for other in others} == {stage_key(stage)}


@pytest.mark.parametrize("tricks", [{"base_lr": 1e-3}, {"base_steps": 7}, {"base_refusals": 7}, {"seed": 2}, {"base_rank": 2}])
def test_rows_and_settings_of_the_alignment_are_in_its_key(model_folder, store, stage, tricks):
    assert stage_key(stage_of(model_folder, store, tricks=tricks)) != stage_key(stage)


def test_another_model_is_another_alignment_and_a_copy_is_not(model_folder, store, stage, tmp_path):
    copy = shutil.copytree(model_folder, tmp_path / "copy")
    assert stage_key(stage_of(copy, store)) == stage_key(stage)
    save_checkpoint(tiny.llama(len(tiny.byte_tokenizer(tiny.LLAMA3)), seed=1), tiny.byte_tokenizer(tiny.LLAMA3), copy)
    assert stage_key(stage_of(copy, store)) != stage_key(stage)


def test_a_trial_ranks_trains_and_is_compared_with_the_aligned_model(model_folder, store, aligned, tmp_path):
    (trial,) = trials(model_folder)
    result = run_trial(trial, store, tmp_path)
    assert result.checkpoint.manifest()["inputs"]["model"]["key"] == aligned.artifact.key
    assert len(store.all_of("base")) == 1
    start = begin(trial, find_inputs(trial, store), here(store))
    assert start.model == start.ranker == rank_stage(start).model and start.model.key == aligned.artifact.key


def test_a_model_that_only_ranks_is_taken_as_it_comes(model_folder, store, aligned):
    (trial,) = trials(model_folder, selection={"model": {"path": str(model_folder)}}, selector="loss")
    start = begin(trial, find_inputs(trial, store), here(store))
    assert start.model.key == aligned.artifact.key and start.ranker.folder == str(model_folder)


def test_without_it_a_trial_starts_from_the_model_itself(model_folder, store):
    assert stage_of(model_folder, store, model={"align": None}) is None


def test_the_sandboxs_model_has_a_policy_of_its_own():
    with pytest.raises(ConfigError, match=r"`model\.align`: got tricks with `model\.path` sandbox"):
        trials("sandbox")


def test_another_world_is_refused_by_name(model_folder):
    with pytest.raises(ConfigError, match=r"`model\.align`: got \"sandbox\", but input should be 'tricks'"):
        trials(model_folder, model={"align": "sandbox"})


@pytest.mark.parametrize(("key", "value"), [("steps", 0), ("batch_size", 0), ("lr", 0.0), ("rank", 0), ("warmup", -1)])
def test_settings_that_cannot_be_are_named(model_folder, key, value):
    with pytest.raises(ConfigError, match=rf"`tricks\.base_{key}`: .*got {value}"):
        trials(model_folder, tricks={f"base_{key}": value})


def test_batches_are_shared_out_evenly(model_folder):
    with pytest.raises(ConfigError, match=r"`tricks\.base_batch_size`: got 3, but it takes a multiple of"):
        trials(model_folder, tricks={"base_batch_size": 3}, resources={"workers": 2})


def test_an_adapter_folder_is_refused(model_folder, store, tmp_path):
    adapter = load_model(str(model_folder), lora=Lora(r=2))
    save_checkpoint(adapter, tiny.byte_tokenizer(tiny.LLAMA3), tmp_path / "adapter")
    with pytest.raises(ConfigError, match=r"`model\.align`: got tricks with .*adapter, which is an adapter folder"):
        stage_of(tmp_path / "adapter", store)


def test_a_prompt_of_the_evaluation_that_aligns_the_model_is_refused(model_folder, store, stage, tmp_path):
    prompt = stage.rows.examples()[0].prompt[0].content
    path = tmp_path / "harmful.jsonl"
    path.write_text(json.dumps({"prompt": prompt, "harmful": "Sure."}) + "\n")
    with pytest.raises(DataError, match="this prompt is also one of model.align"):
        stage_of(model_folder, store, evaluation={"harmful": str(path)})


def test_rows_that_are_all_too_long_end_it_with_a_word(model_folder, store):
    with pytest.raises(StageError, match="no row that aligns the model is usable"):
        make(stage_of(model_folder, store, data={"max_length": 8}), store, local_context(), PlainEngine)


def test_people_know_it_by_what_was_aligned(aligned, model_folder):
    folder, manifest = aligned.artifact.folder, aligned.artifact.manifest()
    assert base_name(folder) == f"{model_folder.name} aligned"
    name, params = stage_facts(aligned.artifact, AlignmentStage.label, manifest, [])
    assert name == f"alignment of {model_folder.name} seed 1"
    assert params == {"seed": 1, "model": model_folder.name, "rows": params["rows"], "steps": 6, "lr": 3e-3}
    assert params["rows"] == len(load_examples(manifest["inputs"]["rows"]["path"])) - len(aligned.result.dropped)
