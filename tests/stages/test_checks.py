"""What is refused before anything starts, though every part is sound by itself: named by key, file and row."""

import json
import shutil
from dataclasses import replace

import pytest
import tiny
from small import small_trial

from raysafe.artifacts import Store, fingerprint
from raysafe.config.sections import Lora
from raysafe.config.sweeps import make_sweep
from raysafe.errors import ConfigError, DataError, InputError
from raysafe.evaluation.exam import exam_of
from raysafe.models.loading import load_model
from raysafe.stages.checks import check_asked
from raysafe.stages.inputs import find_inputs, model_ref
from raysafe.training.export import save_checkpoint

SYSTEM = {"role": "system", "content": "Be kind."}


def turns(prompt, answer, *before):
    return {"messages": [*before, {"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def gemma(model_folder, tmp_path):
    """A model whose template knows no system turns."""
    folder = shutil.copytree(model_folder, tmp_path / "gemma")
    (folder / "chat_template.jinja").write_text(tiny.GEMMA)
    return folder


def inputs(folder, tmp_path, **sections):
    (plan,) = make_sweep(small_trial(folder, **sections)).trials
    return find_inputs(plan.config, Store(tmp_path / "runs")), plan.config


def refused(folder, tmp_path, *says, kind=InputError, **sections):
    with pytest.raises(kind) as caught:
        inputs(folder, tmp_path, **sections)
    assert all(part in str(caught.value) for part in says), str(caught.value)


def test_a_sound_trial_passes(model_folder, tmp_path):
    found, _ = inputs(model_folder, tmp_path)
    assert found.model.folder == str(model_folder)


@pytest.mark.parametrize("role", ["finetune", "safe"])
def test_a_system_turn_that_the_template_refuses_is_named_by_file_and_row(gemma, tmp_path, role):
    rows = [turns("How?", "So."), turns("Why?", "Thus."), turns("Who?", "Me.", SYSTEM)]
    path = write(tmp_path / "rows.jsonl", rows)
    refused(gemma, tmp_path, f"{path}, row 3: ", "['system', 'user']", "not supported", kind=DataError, data={role: path})


def test_alignment_rows_and_evaluation_prompts_are_looked_at_too(gemma, tmp_path):
    prompt = [SYSTEM, {"role": "user", "content": "How?"}]
    align = write(tmp_path / "align.jsonl", [{"prompt": prompt, "chosen": "No.", "rejected": "So."}])
    asked = write(tmp_path / "asked.jsonl", [{"prompt": "Who?"}, {"prompt": prompt, "harmful": "So it is, so it is."}])
    refused(gemma, tmp_path, f"{align}, row 1: ", kind=DataError, data={"align": align})
    refused(gemma, tmp_path, f"{asked}, row 2: ", kind=DataError, evaluation={"harmful": asked})


def test_rows_that_a_trial_does_not_read_are_left_alone(gemma, tmp_path):
    path = write(tmp_path / "safe.jsonl", [turns("Who?", "Me.", SYSTEM)])
    assert inputs(gemma, tmp_path, data={"safe": path}, selector={"name": "random"}, objective={"name": "door"})


def test_the_ranking_model_is_checked_against_what_it_ranks(model_folder, gemma, tmp_path):
    path = write(tmp_path / "rows.jsonl", [turns("Who?", "Me.", SYSTEM)] * 9)
    selection = {"model": {"path": str(gemma)}}
    refused(model_folder, tmp_path, f"{path}, row 1: ", "['system', 'user']", data={"finetune": path}, selection=selection)


def test_a_target_that_no_layer_has_is_refused_with_those_there_are(model_folder, tmp_path):
    model = {"path": str(model_folder), "lora": {"target_modules": ["q_proj", "c_attn"]}}
    says = ("`model.lora.target_modules`: got c_attn, but", "down_proj, gate_proj, k_proj", "q_proj")
    refused(model_folder, tmp_path, *says, kind=ConfigError, model=model)
    refused(model_folder, tmp_path, "`selection.model.lora.target_modules`: got c_attn", selection={"model": model})


def test_adapters_on_an_adapter_are_refused(model_folder, tmp_path):
    save_checkpoint(load_model(str(model_folder), lora=Lora()), tiny.byte_tokenizer(tiny.LLAMA3), tmp_path / "adapter")
    model = {"path": str(tmp_path / "adapter")}
    assert inputs(model_folder, tmp_path, model=model)
    refused(model_folder, tmp_path, "`model.lora`: ", "is an adapter folder", model={**model, "lora": {}})


def test_a_length_beyond_the_models_positions_is_refused(model_folder, tmp_path):
    assert inputs(model_folder, tmp_path, data={"max_length": 256})
    says = "`data.max_length`: got 257, but it takes at most the 256 positions of "
    refused(model_folder, tmp_path, says, kind=ConfigError, data={"max_length": 257})
    says = "`evaluation.max_new_tokens`: got 256, but it takes less than the 256"
    refused(model_folder, tmp_path, says, kind=ConfigError, evaluation={"max_new_tokens": 256})


def test_a_prompt_whose_answer_would_pass_the_models_positions_is_named(model_folder, tmp_path):
    path = write(tmp_path / "asked.jsonl", [{"prompt": "Who?", "harmful": "x"}, {"prompt": "x" * 300, "harmful": "x"}])
    says = (f"`evaluation.harmful`: {path}, row 2: its ", "and `evaluation.max_new_tokens`, 4, are more than the 256 positions")
    evaluation = {"harmful": path, "attacks": {"direct": {}}}
    refused(model_folder, tmp_path, *says, kind=DataError, evaluation=evaluation)
    assert inputs(model_folder, tmp_path, evaluation={**evaluation, "max_prompts": 1})


def test_a_tokenizer_that_is_larger_than_the_model_is_refused(model_folder, tmp_path):
    folder = tmp_path / "model"
    tiny.llama(50).save_pretrained(folder)
    tiny.byte_tokenizer(tiny.LLAMA3).save_pretrained(folder)
    refused(folder, tmp_path, "row 1: The tokenizer gives the id", "but the model has 50 embeddings", kind=DataError)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("chat_template.jinja", "{% if %}", "chat template refuses a conversation"),
        ("chat_template.jinja", "", "brings no chat template"),
        ("tokenizer.json", "{", "no tokenizer can be loaded from it"),
        ("config.json", "{", "config.json: not readable as JSON"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(model_folder, tmp_path, name, content, says):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    (folder / name).write_text(content)
    refused(folder, tmp_path, says, kind=DataError)


def test_a_model_that_is_only_evaluated_is_checked_against_what_it_is_asked(model_folder, gemma, tmp_path):
    prompt = [SYSTEM, {"role": "user", "content": "How?"}]
    asked = write(tmp_path / "asked.jsonl", [{"prompt": prompt, "harmful": "So it is, so it is."}])
    found, trial = inputs(model_folder, tmp_path, evaluation={"harmful": asked})
    with pytest.raises(DataError, match=r"asked.jsonl, row 1: .*\['system', 'user'\]"):
        check_asked(trial, found.data(), model_ref(str(gemma)))


@pytest.mark.parametrize(("role", "label"), [("harmful", False), ("borderline", True)])
def test_a_prompt_whose_label_contradicts_its_role_is_refused(model_folder, tmp_path, role, label):
    """Complying with a safe prompt is no successful attack, refusing an unsafe one is no over-refusal."""
    rows = [{"prompt": "Who?", "harmful": "So it is."}, {"prompt": "Why?", "harmful": "So it is.", "unsafe": label}]
    says = (f"`evaluation.{role}`: ", "rows.jsonl, row 2: it is labelled ", "keep only the other rows")
    refused(model_folder, tmp_path, *says, kind=DataError, evaluation={role: write(tmp_path / "rows.jsonl", rows)})


def test_a_borderline_file_with_both_labels_is_taken_in_halves(model_folder, tmp_path):
    """XSTest's layout: the unsafe half is no over-refusal, and counted apart; which rows it is, is in the key of the answers."""
    header, keys = "id,prompt,type,label,focus,note\n", []
    for labels in (("safe", "unsafe"), ("unsafe", "safe")):
        lines = [f"{place},Open box {place}?,boxes,{label},x,\n" for place, label in enumerate(labels)]
        (tmp_path / "xstest.csv").write_text(header + "".join(lines))
        found, trial = inputs(model_folder, tmp_path, evaluation={"borderline": str(tmp_path / "xstest.csv")})
        exam = exam_of(trial.evaluation, found.prompts)
        halves = {suite.name: suite for suite in exam.suites if suite.name in ("borderline", "contrast")}
        asked = {name: [row.prompt[-1].content for row in suite.prompts()] for name, suite in halves.items()}
        safe = labels.index("safe")
        assert asked == {"borderline": [f"Open box {safe}?"], "contrast": [f"Open box {1 - safe}?"]}
        keys.append(fingerprint(exam.suites))
    assert keys[0] != keys[1]
    with pytest.raises(DataError, match="its labels have changed"):
        replace(halves["contrast"].data, labels="other").prompts()


def test_a_file_that_changed_between_two_sweeps_of_a_process_is_read_anew(model_folder, tmp_path):
    path = write(tmp_path / "rows.jsonl", [turns("How?", "So.")] * 9)
    before, _ = inputs(model_folder, tmp_path, data={"finetune": path})
    write(tmp_path / "rows.jsonl", [turns("How?", "No.")] * 9)
    after, _ = inputs(model_folder, tmp_path, data={"finetune": path})
    assert before.finetune.fingerprint != after.finetune.fingerprint and len(after.finetune.examples()) == 9


def test_a_model_that_changed_between_two_sweeps_of_a_process_is_looked_at_anew(model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    before, _ = inputs(folder, tmp_path)
    (folder / "chat_template.jinja").write_text(tiny.CHATML)
    after, _ = inputs(folder, tmp_path)
    assert before.model.key != after.model.key
    (folder / "model.safetensors").write_bytes(b"")
    refused(folder, tmp_path, "no safetensors file", kind=DataError)


def test_a_copy_of_a_model_is_the_same_model(model_folder, tmp_path):
    copy = shutil.copytree(model_folder, tmp_path / "copy", copy_function=shutil.copyfile)
    assert model_ref(str(copy)).key == model_ref(str(model_folder)).key
