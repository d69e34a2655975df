"""How long a trial's training waits for its workers: groups that stay for the sweep, against a fresh group for every stage.

The same small training stages run both ways in one process, in turn, on the same Ray; seconds are from posting a stage to its
first row of metrics. Run: python benchmarks/group_start.py [--stages 4]
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import ray
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils.logging import disable_progress_bar

from raysafe.artifacts import Store
from raysafe.cluster.groups import connect, worker_groups
from raysafe.config.sections import Resources
from raysafe.config.sweeps import make_sweep
from raysafe.data.references import ModelRef
from raysafe.sandbox.tokenizer import build_tokenizer
from raysafe.stages.inputs import find_inputs
from raysafe.stages.train import TrainStage


def random_model(folder: Path) -> ModelRef:
    """An untrained model of the sandbox's size: starting up is what is measured."""
    disable_progress_bar()
    tokenizer = build_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=96, num_hidden_layers=2, num_attention_heads=4, intermediate_size=256,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return ModelRef("random", str(folder))


def stage_of(root: Path, number: int) -> TrainStage:
    """One epoch of plain fine-tuning on the sandbox's rows; every number is another stage."""
    raw = {"name": "bench", "objective": "sft", "selector": "none", "training": {"epochs": 1}}
    trial = make_sweep(raw).trials[0].config
    inputs = find_inputs(trial, Store(root))
    return TrainStage(
        model=random_model(root / "model"),
        lora=None,
        objective=trial.objective,
        training=replace(trial.training, lr=1e-4 * (number + 1)),
        retain=inputs.finetune,
        selection=None,
        max_length=trial.data.max_length,
        alignment=None,
        frozen={},
        seed=0,
    )


def first_row(groups: object, stage: TrainStage) -> float:
    """Seconds from posting the stage to its first row."""
    started, seen = time.monotonic(), []
    launch = groups.launcher(f"t{id(stage)}", lambda row: seen.append(time.monotonic() - started))  # type: ignore[attr-defined]
    launch(stage).wait()
    return seen[0]


def main() -> None:
    """Print both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", type=int, default=4)
    stages = parser.parse_args().stages
    connect(None)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with worker_groups(root / "stay", Resources(groups=1)) as groups:
            first_row(groups, stage_of(root / "stay", 0))  # the one start that a whole sweep pays
            stay = [first_row(groups, stage_of(root / "stay", number)) for number in range(1, stages + 1)]
        fresh = []
        for number in range(1, stages + 1):
            started = time.monotonic()
            with worker_groups(root / "fresh", Resources(groups=1)) as groups:
                waited = time.monotonic() - started
                fresh.append(waited + first_row(groups, stage_of(root / "fresh", number)))
    ray.shutdown()
    result = {"stay_s": statistics.median(stay), "fresh_s": statistics.median(fresh)}
    result["ratio"] = result["fresh_s"] / result["stay_s"]
    json.dump({name: round(value, 2) for name, value in result.items()}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
