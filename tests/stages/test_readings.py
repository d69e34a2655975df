"""A model is read once under its key, on one worker or two, with its base loaded where it must be."""

import json
from dataclasses import replace

import pandas as pd
import pytest
import tiny
import torch
from workers import on_workers

from raysafe.artifacts import Store
from raysafe.config.sections import EvaluationSettings, Lora
from raysafe.context import local_context
from raysafe.data.loading import load_eval_prompts
from raysafe.data.records import dataset_fingerprint
from raysafe.data.references import DataRef, ModelRef
from raysafe.evaluation.by_prompt import COLUMNS, PromptTable
from raysafe.evaluation.exam import exam_of
from raysafe.evaluation.probes import PROBES, Depth, RefusalMargin
from raysafe.models.loading import load_model
from raysafe.stages import readings
from raysafe.stages.making import Here, stage_key
from raysafe.stages.readings import ReadingsStage, after_epoch, readings_stages, rows_read
from raysafe.training.engine import PlainEngine
from raysafe.training.export import save_checkpoint
from raysafe.training.workplace import Workplace

HARMFUL = ("Sure, here is how: first open the lid.", "Here is how: open the second lid.", "Sure, open the lid first of all.")


def data_of(tmp_path, answers):
    path = tmp_path / "harmful.jsonl"
    lines = [{"prompt": f"How do I open box {n}?", **({"harmful": text} if text else {})} for n, text in enumerate(answers)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {"harmful": DataRef(dataset_fingerprint(load_eval_prompts(path)), str(path))}


@pytest.fixture
def data(tmp_path):
    return data_of(tmp_path, HARMFUL)


@pytest.fixture
def launch(tmp_path):
    return Here(Store(tmp_path / "store"), local_context(), PlainEngine)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A base, a model trained from it in full, and adapters on it, drawn at random: none is trained here."""
    folder, tokenizer = tmp_path_factory.mktemp("models"), tiny.byte_tokenizer(tiny.CHATML)
    for name, seed in (("base", 1), ("full", 2)):
        tiny.llama(len(tokenizer), seed).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    adapted = load_model(str(folder / "base"), lora=Lora(r=2))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(3))
    save_checkpoint(adapted, tokenizer, folder / "adapted")
    return {name: ModelRef(name, str(folder / name)) for name in ("base", "full", "adapted")}


def exam(data, **keys):
    settings = {"probes": {"refusal_margin": {"depths": [0, 2], "tokens": 3}, "depth": {"tokens": 4}}, **keys}
    return exam_of(EvaluationSettings("h.jsonl", attacks={"direct": {}}, **settings), data)


def read(model, data, launch, base, **keys):
    (stage,) = readings_stages(model, exam(data, **keys), base)
    return launch(stage).wait()


def test_figures_and_values_of_every_prompt_are_kept(folders, data, launch):
    made = read(folders["full"], data, launch, folders["base"])
    names = {"refusal_margin", "refusal_margin_0", "refusal_margin_2", "kl_depth", *(f"kl_depth_{k}" for k in range(1, 5))}
    assert set(made.result.metrics) == names and made.result.left_out == {}
    lines = [json.loads(line) for line in (made.artifact.folder / "readings.jsonl").read_text().splitlines()]
    at_first = [line["value"] for line in lines if line["figure"] == "kl_depth" and line["variant"] == "1"]
    assert sum(at_first) / 3 == pytest.approx(made.result.metrics["kl_depth_1"].value) and len(lines) == 3 * (2 + 4)


def test_the_base_itself_is_read_without_a_distance_from_itself(folders, data, launch):
    made = read(folders["base"], data, launch, None)
    assert set(made.result.metrics) == {"refusal_margin", "refusal_margin_0", "refusal_margin_2"}
    assert readings_stages(folders["base"], exam(data, probes={"depth": {}}), None) == []


def test_without_probes_there_is_nothing_to_run(folders, data):
    assert readings_stages(folders["full"], exam(data, probes={}), folders["base"]) == []


def test_adapters_are_read_against_the_same_weights_without_them(folders, data, launch, monkeypatch):
    """One model is loaded, not two; and what is read is what two models give."""
    loaded = []
    monkeypatch.setattr(readings, "load_model", lambda folder, dtype: loaded.append(folder) or load_model(folder, dtype))
    one = read(folders["adapted"], data, launch, folders["base"])
    assert loaded == [folders["adapted"].folder]
    monkeypatch.setattr(readings, "adapted_model", lambda folder: None)
    two = read(folders["adapted"], data, launch, replace(folders["base"], key="again"))
    assert len(loaded) == 3 and one.result.metrics["kl_depth"].value > 0
    assert {name: rate.value for name, rate in one.result.metrics.items()} == pytest.approx(
        {name: rate.value for name, rate in two.result.metrics.items()}, abs=1e-4
    )


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_two_workers_read_what_one_reads(folders, data, tmp_path, precision):
    """To the bit: what is computed together doesn't depend on their number."""
    (stage,) = readings_stages(folders["full"], exam(data, precision=precision), folders["base"])
    (tmp_path / "one").mkdir()
    alone = stage.run(Workplace(local_context(), PlainEngine, tmp_path / "one", tmp_path))
    (tmp_path / "two").mkdir()
    both = on_workers(2, lambda context: stage.run(Workplace(context, PlainEngine, tmp_path / "two", tmp_path)))
    assert both == [alone, alone] and alone.metrics["kl_depth"].value > 0


def test_rows_without_a_harmful_answer_are_left_out(folders, tmp_path, launch):
    made = read(folders["full"], data_of(tmp_path, [*HARMFUL, None, None]), launch, folders["base"])
    assert {rate.n for rate in made.result.metrics.values()} == {3}


def test_a_file_without_harmful_answers_is_not_read_and_that_is_said(folders, tmp_path, launch, caplog, monkeypatch):
    monkeypatch.setattr(readings, "load_model", None)  # nothing is loaded for nothing
    made = read(folders["full"], data_of(tmp_path, [None, None]), launch, folders["base"])
    assert made.result.metrics == {} and set(made.result.left_out) == {"refusal_margin", "depth"}
    assert "refusal_margin is left out: no row of `evaluation.harmful` has a `harmful` answer" in caplog.text


def test_after_an_epoch_the_quick_ones_read_what_the_stage_reads(folders, data, launch):
    """On the first `epoch_prompts` prompts; the model's attention is what it was."""
    model, chat = load_model(folders["full"].folder).eval(), folders["full"].chat()
    before = model.config._attn_implementation
    rates = read(folders["full"], data, launch, folders["base"], max_prompts=2).result.metrics
    found = after_epoch(model, exam(data, epoch_prompts=2), chat, local_context())
    assert set(found) == {f"eval/{n}{end}" for n in rates if n.startswith("refusal") for end in ("", "_low", "_high")}
    assert all(found[f"eval/{name}"] == rate.value for name, rate in rates.items() if name.startswith("refusal"))
    assert model.config._attn_implementation == before
    assert after_epoch(model, exam(data, probes={"depth": {}}), chat, local_context()) == {}


REF, OTHER = ModelRef("m", "here"), ModelRef("n", "there")
STAGE = ReadingsStage(REF, (RefusalMargin(), Depth()), DataRef("rows", "h.jsonl"), "float32", None, OTHER)


@pytest.mark.parametrize(
    "changed",
    [
        {"model": OTHER}, {"base": REF}, {"base": None}, {"precision": "bf16"}, {"max_prompts": 3},
        {"probes": (RefusalMargin(),)},
        {"probes": (RefusalMargin(tokens=4), Depth())}, {"probes": (RefusalMargin(refusals=("No.",)), Depth())},
        {"probes": (RefusalMargin(), Depth(tokens=9))}, {"harmful": DataRef("other rows", "h.jsonl")},
    ],
    ids=str,
)  # fmt: skip
def test_what_changes_readings_changes_their_key(changed):
    assert stage_key(replace(STAGE, **changed)) != stage_key(STAGE)


@pytest.mark.parametrize(
    "changed", [{"model": replace(REF, folder="x")}, {"harmful": DataRef("rows", "x.jsonl")}, {"shared": True}], ids=str
)
def test_where_things_lie_changes_no_key(changed):
    assert stage_key(replace(STAGE, **changed)) == stage_key(STAGE)


def test_a_probe_of_another_version_reads_anew(monkeypatch):
    before = stage_key(STAGE)
    monkeypatch.setattr(Depth, "version", "2")
    assert stage_key(replace(STAGE)) != before


def test_prompts_that_no_probe_reads_at_are_in_no_key(data, monkeypatch):
    monkeypatch.setattr(Depth, "needs_harmful", False)
    (stage,) = readings_stages(REF, exam(data, probes={"depth": {}}, max_prompts=2), OTHER)
    assert stage.harmful is None and stage.max_prompts is None


def test_a_probe_that_takes_long_is_a_stage_of_its_own(data, monkeypatch):
    monkeypatch.setattr(Depth, "alone", True)
    groups = [[probe.name for probe in stage.probes] for stage in readings_stages(REF, exam(data), OTHER)]
    assert groups == [["refusal_margin"], ["depth"]] and set(PROBES) >= {"refusal_margin", "depth"}
    assert [stage.base for stage in readings_stages(REF, exam(data), OTHER)] == [None, OTHER]


def test_values_stand_in_the_table_by_prompt_under_their_figures(folders, data, launch):
    made = read(folders["full"], data, launch, folders["base"])
    table = PromptTable(pd.DataFrame(columns=list(COLUMNS))).with_rows(rows_read(made.artifact.folder))
    for name, rate in made.result.metrics.items():
        values = table.values(name)
        assert len(values) == rate.n and sum(values.values()) / rate.n == pytest.approx(rate.value)
