"""Stages by themselves, in this process: what they leave, against a straightforward computation."""

import json

import pytest
import tiny
from transformers import AutoModelForCausalLM

from raysafe.artifacts import Store
from raysafe.data.loading import load_examples
from raysafe.data.manifest import Ranking
from raysafe.data.records import dataset_fingerprint
from raysafe.data.tokens import encode_examples
from raysafe.making import make
from raysafe.refs import DataRef, ModelRef
from raysafe.selection import SELECTORS
from raysafe.stages import RankStage
from raysafe.training.context import local_context


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
    artifact = make(stage, Store(root), local_context())
    return Ranking.load(artifact.folder / "ranking.parquet"), artifact, model


def test_the_loss_selector_scores_by_minus_the_untrained_models_mean_nll(model_folder, finetune, tmp_path):
    ranking, _, ref = rank(model_folder, finetune, tmp_path, SELECTORS["loss"]())
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    kept, dropped = encode_examples(finetune.examples(), ref.chat(), 64)
    assert [row.index for row in dropped] == [4] and "no label is left" in ranking.reasons[4]
    for row in kept:
        ids = tiny.torch.tensor([row.input_ids])
        labels = ids.clone()
        labels[0, : row.label_start] = -100
        assert ranking.scores[row.index] == pytest.approx(-model(input_ids=ids, labels=labels).loss.item(), rel=1e-5)


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
