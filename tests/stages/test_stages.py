"""Stages by themselves, in this process: what they leave, against a straightforward computation."""

import json

import pytest
import torch
from tolerances import TINY, likely
from transformers import AutoModelForCausalLM

from raysafe.artifacts import Store
from raysafe.config.sweeps import make_sweep
from raysafe.context import local_context
from raysafe.data.loading import load_examples
from raysafe.data.records import dataset_fingerprint
from raysafe.data.references import DataRef, ModelRef
from raysafe.data.tokens import encode_examples
from raysafe.errors import NotFiniteError
from raysafe.ranking.tables import Ranking, Selection
from raysafe.selection import SELECTORS
from raysafe.stages.making import make
from raysafe.stages.rank import RankStage
from raysafe.training import loop
from raysafe.training.engine import PlainEngine
from raysafe.training.step import train_step
from raysafe.trial import run_trial


@pytest.fixture
def finetune(tmp_path):
    path = tmp_path / "finetune.jsonl"
    answers = ["open the lid.", "I cannot help with that.", "Sure, here is how: first open the lid.", "a"]
    rows = [{"prompt": "How?", "response": answer, "unsafe": n == 2} for n, answer in enumerate(answers)]
    rows.append({"prompt": "How do I open the box? " * 40, "response": "too long", "unsafe": False})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DataRef(dataset_fingerprint(load_examples(path)), str(path))


def rank(model_folder, finetune, root, selector):
    model = ModelRef("m", str(model_folder))
    stage = RankStage(model, None, selector, None, finetune, None, 64, 0)
    artifact = make(stage, Store(root), local_context(), PlainEngine).artifact
    return Ranking.load(artifact.folder / "ranking.parquet"), artifact, model


def test_the_loss_selector_scores_by_minus_the_untrained_models_mean_nll(model_folder, finetune, tmp_path):
    ranking, _, ref = rank(model_folder, finetune, tmp_path, SELECTORS["loss"]())
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    kept, dropped = encode_examples(finetune.examples(), ref.chat(), 64)
    assert [row.index for row in dropped] == [4] and "no label is left" in ranking.reasons[4]
    for row in kept:
        ids = torch.tensor([row.input_ids])
        labels = ids.clone()
        labels[0, : row.label_start] = -100
        loss = model(input_ids=ids, labels=labels).loss.item()
        assert ranking.scores[row.index] == pytest.approx(-loss, rel=likely(TINY, torch.float32))


def test_a_stage_is_made_once_and_then_read(model_folder, finetune, tmp_path):
    _, first, _ = rank(model_folder, finetune, tmp_path, SELECTORS["random"]())
    made = (first.folder / "manifest.json").stat().st_mtime_ns
    _, again, _ = rank(model_folder, finetune, tmp_path, SELECTORS["random"]())
    assert again == first and (again.folder / "manifest.json").stat().st_mtime_ns == made


def test_where_a_file_lies_is_no_part_of_a_stages_key(model_folder, finetune, tmp_path):
    _, first, _ = rank(model_folder, finetune, tmp_path, SELECTORS["none"]())
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes((tmp_path / "finetune.jsonl").read_bytes())
    _, again, _ = rank(model_folder, DataRef(finetune.fingerprint, str(copy)), tmp_path, SELECTORS["none"]())
    assert again.key == first.key


def test_data_that_changed_since_it_was_checked_is_refused(model_folder, finetune, tmp_path):
    from raysafe.errors import DataError

    (tmp_path / "finetune.jsonl").write_text(json.dumps({"prompt": "Who?", "response": "I."}) + "\n")
    with pytest.raises(DataError, match="has changed"):
        rank(model_folder, finetune, tmp_path, SELECTORS["random"]())
    assert not Store(tmp_path).ready("rank", "x") and not list(tmp_path.rglob("ranking.parquet"))


def raw_trial(model_folder, tmp_path, prompts, **training):
    """DOOR on three triples and the fine-tuning rows below; prompts of the fine-tuning rows are given."""
    files = {
        "finetune": [{"prompt": prompt, "response": "open the lid."} for prompt in prompts],
        "align": [{"prompt": f"How {n}?", "chosen": "I cannot help.", "rejected": "Sure, here is how."} for n in range(3)],
        "harmful": [{"prompt": "How not?", "harmful": "Sure, here is how."}],
    }
    for name, rows in files.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "name": "t",
        "model": {"path": str(model_folder)},
        "selector": "none",
        "objective": "door",
        "data": {
            "finetune": str(tmp_path / "finetune.jsonl"), "align": str(tmp_path / "align.jsonl"), "max_length": 64,
            "prefix": {"mode": "none"},
        },
        "training": {"batch_size": 2, "lr": 1e-3, **training},
        "evaluation": {
            "harmful": str(tmp_path / "harmful.jsonl"), "attacks": {"direct": {}}, "max_new_tokens": 2, "each_epoch": False,
        },
    }  # fmt: skip


def test_a_row_without_a_label_is_skipped_counted_and_told(model_folder, tmp_path):
    trial = make_sweep(raw_trial(model_folder, tmp_path, ["Open?", "Open it? " * 60, "And?"], epochs=1)).trials[0].config
    result = run_trial(trial, Store(tmp_path / "store"), tmp_path / "trial")
    told = result.checkpoint.result["dropped"]["retain"]
    assert result.dropped_rows == 0 and told == {}  # the ranking has left it out before
    table = Selection.load(tmp_path / "trial" / "selection.parquet").table
    assert table["selected"].tolist() == [True, False, True] and "no label is left" in table["reason"][1]


def test_an_alignment_row_without_a_label_is_skipped_counted_and_told(model_folder, tmp_path):
    raw = raw_trial(model_folder, tmp_path, ["Open?", "And?"], epochs=1)
    with (tmp_path / "align.jsonl").open("a") as file:
        file.write(json.dumps({"prompt": "How do I? " * 60, "chosen": "I cannot help.", "rejected": "Sure."}) + "\n")
    result = run_trial(make_sweep(raw).trials[0].config, Store(tmp_path / "store"), tmp_path / "trial")
    told = result.checkpoint.result
    assert result.dropped_rows == 1 and list(told["dropped"]["align"]) == ["3"] and told["rows"]["harmful"] == 3
    assert "no label is left" in told["dropped"]["align"]["3"]


def test_a_training_that_breaks_keeps_the_model_of_its_last_whole_epoch(model_folder, tmp_path, monkeypatch):
    """Two steps an epoch; before the third epoch's first step a weight becomes NaN. What is left is what two epochs make."""
    raw = raw_trial(model_folder, tmp_path, ["Open?", "And?", "Who?"], epochs=2)
    two = run_trial(make_sweep(raw).trials[0].config, Store(tmp_path / "two"), tmp_path / "trial")

    def breaking(engine, run, plan, context):
        if plan.number == 4:
            engine.policy.model.model.norm.weight.data.fill_(float("nan"))
        return train_step(engine, run, plan, context)

    monkeypatch.setattr(loop, "train_step", breaking)
    raw["training"]["epochs"] = 4
    with pytest.raises(NotFiniteError, match=r"step 5: .*`retain` rows? .*after epoch 2 is kept in .*\.$") as caught:
        run_trial(make_sweep(raw).trials[0].config, Store(tmp_path / "four"), tmp_path / "trial")
    folder = str(caught.value).rpartition("is kept in ")[2].rstrip(".")
    left, expected = (AutoModelForCausalLM.from_pretrained(path).state_dict() for path in (folder, two.checkpoint.folder))
    assert all(torch.equal(left[name], value) for name, value in expected.items())
