"""Our training step on a GPU, for models of Gemma-2-2B's and Llama-3-8B's size: tokens a second, share of the peak, memory.

Weights are random and made on the device; the frozen log-probabilities are those of the policy at its start. `full` trains bf16
with float32 masters through DeepSpeed, `lora` an adapter on a bf16 base. Seconds are wall time between synchronised steps. The
share of the peak counts only the operations that a step needs (stepbench/flops.py; a frozen weight needs 4 instead of 6 a token).
Run: python benchmarks/step_gpu.py [--shapes gemma-2-2b,llama-3-8b] [--peak-tflops N]; on a CPU: --device cpu --shapes tiny
"""

import argparse
import json
import os
import statistics
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from rich.console import Console
from rich.table import Table
from stepbench.flops import floor_flops, matmul_throughput
from stepbench.measure import commit, peak_memory
from stepbench.methods import METHODS, POLICY_SEED, SETTINGS
from stepbench.rows import Workload, make_workload, mean_lengths
from stepbench.shapes import SHAPES, Shape, random_model

from raysafe.config.sections import Lora
from raysafe.context import Context
from raysafe.models.loading import freeze
from raysafe.models.log_probs import frozen_label_log_probs
from raysafe.models.policy import Policy
from raysafe.training.engine import DeepSpeedEngine, Engine, Load, PlainEngine
from raysafe.training.step import Run, StepPlan, TrainingData, train_step

PEAK_TFLOPS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0}
"""Dense bf16 peaks of the makers' data sheets, by a part of the device's name."""
STREAMS = ("safe", "harmful", "retain")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shapes", default="gemma-2-2b,llama-3-8b", help="comma-separated: " + ", ".join(SHAPES))
    parser.add_argument("--train", choices=("full", "lora", "auto"), default="auto", help="auto: lora above 4 billion parameters")
    parser.add_argument("--methods", default="wdoor,door,dpo", help="comma-separated")
    parser.add_argument("--batch", type=int, default=2, help="rows of each stream")
    parser.add_argument("--steps", type=int, default=10, help="timed steps, after two that are not")
    parser.add_argument("--checkpointing", action="store_true", help="recompute activations in the backward pass")
    parser.add_argument(
        "--peak-tflops", type=float, help="the device's bf16 peak; else by its name, else a matrix product's speed"
    )
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def trained(shape: Shape, options: argparse.Namespace) -> str:
    """`full` or `lora`."""
    if options.train != "auto":
        return options.train
    return "lora" if shape.parameters > 4e9 else "full"


def make_policy(shape: Shape, options: argparse.Namespace) -> Any:
    """The model to train, on its device: bf16 on a GPU, with a fresh adapter if it is `lora`."""
    dtype = torch.bfloat16 if options.device == "cuda" else torch.float32
    model = random_model(shape, POLICY_SEED, options.device, dtype)
    model.config.use_cache = False
    return _with_adapter(model) if trained(shape, options) == "lora" else model


def _with_adapter(model: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    lora = Lora()
    names = list(lora.target_modules)
    return get_peft_model(model, LoraConfig(r=lora.r, lora_alpha=lora.alpha, target_modules=names, task_type="CAUSAL_LM"))


def make_engine(load: Load, full: bool, options: argparse.Namespace) -> Engine:
    """DeepSpeed with float32 masters for bf16 weights; the plain engine for an adapter, whose weights are float32, and on CPU."""
    precision = "bf16" if options.device == "cuda" and full else "float32"
    settings = replace(SETTINGS, precision=precision, gradient_checkpointing=options.checkpointing, batch_size=options.batch)
    if options.device == "cuda" and full:
        return DeepSpeedEngine(load, settings, torch.device("cuda", 0))
    return PlainEngine(load, settings, options.device)


def make_data(shape: Shape, name: str, work: Workload, options: argparse.Namespace) -> TrainingData:
    """The rows, with the untrained policy's own log-probabilities as those of the frozen models."""
    rows = {stream: getattr(work, stream) for stream in STREAMS}
    needed = METHODS[name].objective.frozen_models  # type: ignore[union-attr]
    policy = Policy(freeze(make_policy(shape, options)))
    frozen = {}
    for stream, names in needed.items():
        values = frozen_label_log_probs(policy, rows[stream], 8)
        frozen[stream] = dict.fromkeys(names, values)
    return TrainingData(rows, frozen)


def measure(shape: Shape, name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One method on one shape. Memory is the peak over the timed steps, the model and its optimiser included."""
    work = make_workload(max(1, options.steps * options.batch // 2), shape.vocabulary)
    full = trained(shape, options) == "full"
    data = make_data(shape, name, work, options)
    engine = make_engine(partial(make_policy, shape, options), full, options)
    for step in range(2):
        run_step(engine, name, data, work, step, options)
    seconds: list[float] = []
    peak = _peak(options.device, lambda: _timed(seconds, engine, name, data, work, options))
    sizes = [sum(len(row.input_ids) for s in STREAMS for row in work.pick(s, k, options.batch)) for k in range(options.steps)]
    needed = sum(floor_flops(shape, work, STREAMS, options.batch, step) for step in range(options.steps)) * (1 if full else 4 / 6)
    reach = peak_tflops(shape, options) * 1e12
    engine.close()
    return {
        "parameters": shape.parameters,
        "train": "full" if full else "lora",
        "step_s": statistics.median(seconds),
        "tokens_per_s": sum(sizes) / sum(seconds),
        "peak_share": needed / sum(seconds) / reach,
        "memory": peak,
    }


def run_step(engine: Engine, name: str, data: TrainingData, work: Workload, step: int, options: argparse.Namespace) -> None:
    """One optimiser step."""
    objective: Any = METHODS[name].objective
    run = Run(objective, data, replace(SETTINGS, batch_size=options.batch))
    plan = StepPlan(step, work.places("retain", step, options.batch), work.places("safe", step, options.batch))
    context = Context(lambda step, metrics: False, engine.device)
    train_step(engine, run, plan, context)


def _timed(
    seconds: list[float], engine: Engine, name: str, data: TrainingData, work: Workload, options: argparse.Namespace
) -> None:
    for step in range(options.steps):
        _wait(options.device)
        started = time.perf_counter()
        run_step(engine, name, data, work, step, options)
        _wait(options.device)
        seconds.append(time.perf_counter() - started)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _peak(device: str, run: Any) -> int:
    if device != "cuda":
        return peak_memory(run)[1]
    torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated()


def peak_tflops(shape: Shape, options: argparse.Namespace) -> float:
    """What the device could do: as told, by its name, or as fast as a float32 matrix product runs on this CPU."""
    if options.peak_tflops is not None:
        return options.peak_tflops
    if options.device != "cuda":
        return matmul_throughput(shape) / 1e12
    found = torch.cuda.get_device_name()
    for part, tflops in PEAK_TFLOPS.items():
        if part in found:
            return tflops
    raise SystemExit(f"The peak of {found} is not known here: give it with --peak-tflops.")


def print_results(console: Console, results: dict[str, dict[str, Any]]) -> None:
    """A line for each shape and method."""
    table = Table()
    for column in ("shape", "parameters", "trained", "method", "step ms", "tokens / s", "of the peak", "peak GB"):
        table.add_column(column, justify="right")
    for key, one in results.items():
        shape, method = key.split("/")
        cells = [f"{1000 * one['step_s']:.0f}", f"{one['tokens_per_s']:,.0f}", f"{100 * one['peak_share']:.0f} %"]
        table.add_row(shape, f"{one['parameters']:,}", one["train"], method, *cells, f"{one['memory'] / 1e9:.2f}")
    console.print(table)


def start_group() -> None:
    """DeepSpeed wants a process group, even of one."""
    for name, value in (("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "29555"), ("RANK", "0"), ("WORLD_SIZE", "1")):
        os.environ.setdefault(name, value)
    dist.init_process_group("nccl")


def main() -> None:
    """Measure and print."""
    options = arguments()
    if options.device == "cuda":
        if not torch.cuda.is_available():
            raise SystemExit("No GPU is here. For a trial run: --device cpu --shapes tiny")
        start_group()
    torch.set_flush_denormal(True)
    console, results = Console(width=140), {}
    for shape in options.shapes.split(","):
        for name in options.methods.split(","):
            results[f"{shape}/{name}"] = measure(SHAPES[shape], name, options)
    device = torch.cuda.get_device_name() if options.device == "cuda" else "CPU, float32"
    console.print(f"commit {commit()}, torch {torch.__version__}, {device}, {options.batch} rows of each stream")
    print_results(console, results)
    console.print(f"mean tokens / labels: {mean_lengths(make_workload(options.steps, 1000))}")
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
