"""The same pipeline on real text, with a byte-level BPE tokenizer and a random model of millions of parameters, made on the spot;
and on the sandbox's words with adapters."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
import torch
from small import small_trial
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from raysafe.cluster.groups import worker_groups
from raysafe.config.sections import Resources
from raysafe.config.sweeps import make_sweep
from raysafe.stages.making import History
from raysafe.trial import run_trial

ALPACA = Path(os.environ.get("RAYSAFE_ALPACA", Path(__file__).parents[3] / "shared/data/alpaca_cleaned_400.jsonl"))
TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


@pytest.fixture(scope="module")
def group(ray_here, tmp_path_factory):
    """One group of one worker for all tests here: its processes take longer to start than what they are asked to do."""
    with worker_groups(tmp_path_factory.mktemp("one-group"), Resources(groups=1)) as groups:
        yield groups


@pytest.fixture(scope="module")
def conversations():
    if not ALPACA.exists():
        pytest.skip(f"no {ALPACA}; name another file of messages in RAYSAFE_ALPACA")
    return [json.loads(line)["messages"] for line in ALPACA.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def world(conversations, tmp_path_factory):
    """Files of every role, cut from the rows; triples pair a row's answer with the next row's."""
    root = tmp_path_factory.mktemp("alpaca")
    prompts, answers = zip(*((user["content"], assistant["content"]) for user, assistant in conversations), strict=True)
    pairs = list(zip(prompts, answers, answers[1:], strict=False))
    files = {
        "finetune": [{"messages": turns} for turns in conversations[:40]],
        "safe": [{"prompt": p, "response": a} for p, a, _ in pairs[40:60]],
        "align": [{"prompt": p, "chosen": a, "rejected": b} for p, a, b in pairs[60:76]],
        "harmful": [{"prompt": p, "harmful": b} for p, _, b in pairs[80:84]],
        "utility": [{"prompt": p, "reference": a} for p, a, _ in pairs[90:94]],
    }
    for name, rows in files.items():
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def model(conversations, tmp_path_factory):
    """About 3 million random parameters."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    texts = (turn["content"] for turns in conversations for turn in turns)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
    trainer = trainers.BpeTrainer(vocab_size=4000, initial_alphabet=alphabet, special_tokens=special, show_progress=False)
    core.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<|end|>", chat_template=TEMPLATE)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=192, num_hidden_layers=4, num_attention_heads=4, intermediate_size=512,
        max_position_embeddings=600, pad_token_id=0, bos_token_id=None, eos_token_id=1,
    )  # fmt: skip
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    made = LlamaForCausalLM(config)
    assert 2e6 < made.num_parameters() < 5e6
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_rank_select_train_wdoor_and_evaluate_on_alpaca(world, model, group, tmp_path):
    raw = {
        "name": "alpaca",
        "model": {"path": str(model)},
        "data": {role: str(world / f"{role}.jsonl") for role in ("finetune", "safe", "align")},
        "selector": {"name": "seal", "epochs": 1, "batch_size": 8, "safe_batch_size": 8, "model_lr": 1e-3},
        "selection": {"percent": 50},
        "objective": {"name": "wdoor"},
        "training": {"epochs": 2, "batch_size": 4, "lr": 1e-3},
        "proxy": {"epochs": 1, "batch_size": 4, "lr": 1e-3},
        "evaluation": {
            "harmful": str(world / "harmful.jsonl"), "utility": str(world / "utility.jsonl"), "max_new_tokens": 8,
            "attacks": {"direct": {}, "prefill": {"tokens": [5]}},
        },
    }  # fmt: skip
    raw["data"]["max_length"] = 512
    trial = make_sweep(raw).trials[0].config
    result = run_trial(trial, group.store, tmp_path / "trial", group.launcher("alpaca"))
    losses = [metrics["train/loss"] for _, metrics in History.of(result.checkpoint)]
    selection = pd.read_parquet(tmp_path / "trial" / "selection.parquet")
    assert losses[1] < losses[0]
    assert selection["selected"].sum() == result.selected_rows == 20
    assert selection["score"].nunique() == len(selection)  # every row was visited and moved by its own loss
    assert {"utility", "win_rate", "refusal_margin", "kl_depth"} <= result.metrics.keys()
    assert result.metrics["coherence"].n == 8  # an untrained model mostly says nothing, which is neither safe nor harmful
    assert result.unsafe_selected is None  # nobody labelled these rows


def test_lora_and_bf16_train_under_deepspeed_and_leave_an_adapter(random_model, group, tmp_path):
    sections = {
        "model": {"lora": {"r": 4, "alpha": 8}},
        "training": {"precision": "bf16", "zero_stage": 3, "epochs": 4, "lr": 1e-1},
        "selector": {"name": "random"},
        "objective": "sft",
    }
    trial = make_sweep(small_trial(random_model, name="lora", **sections)).trials[0].config
    result = run_trial(trial, group.store, tmp_path / "lora", group.launcher("lora"))
    losses = [metrics["train/loss"] for _, metrics in History.of(result.checkpoint)]
    assert losses[-1] < losses[0] - 1  # of about 100 nats a row; without a step all four would be alike
    assert (result.checkpoint.folder / "adapter_model.safetensors").exists()
    assert 0 <= result.metrics["win_rate"].value <= 1
