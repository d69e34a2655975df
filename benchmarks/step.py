"""The training step: ours, the same as the published code computes it, and TRL's DPOTrainer, in turn on the same rows.

All ways must give the same loss before anything is timed. CPU seconds are those of all threads; `step MB` is the peak of a step
above what is there before it (model, frozen models, optimiser), measured in a process of its own; GFLOP are counted in the
first step, beside the fewest that it needs (stepbench/flops.py); the floor in seconds is that number at the speed of a plain
matrix product on this machine. Run: python benchmarks/step.py [--shapes small,body,vocabulary] [--scaling] [--json FILE]
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from stepbench.compare import Run, compare
from stepbench.measure import commit, prepare
from stepbench.methods import METHODS
from stepbench.rows import mean_lengths
from stepbench.scaling import measure_scaling
from stepbench.shapes import SHAPES
from stepbench.tables import print_lengths, print_scaling, print_shape

TEXT = Path(__file__).parents[2] / "shared" / "data" / "alpaca_cleaned_400.jsonl"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="small", help="comma-separated: " + ", ".join(SHAPES))
    parser.add_argument("--methods", default=",".join(METHODS), help="comma-separated")
    parser.add_argument("--steps", type=int, default=4, help="timed steps of each way")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the rows")
    parser.add_argument("--text", type=Path, default=TEXT if TEXT.exists() else None, help="JSONL of conversations to train on")
    parser.add_argument("--no-trl", action="store_true", help="leave TRL out")
    parser.add_argument("--no-memory", action="store_true", help="measure seconds only")
    parser.add_argument("--scaling", action="store_true", help="also measure seconds against real tokens")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


def measure_shape(run: Run, options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """All methods on one shape, printed and returned."""
    shape, methods = SHAPES[run.shape], {}
    wanted = [(METHODS[name].title, name, ("published", "ours")) for name in options.methods.split(",")]
    if "dpo" in options.methods.split(",") and not options.no_trl:
        wanted.append(("DPO without retain rows", "dpo", ("trl", "trl_precomputed", "ours_alone")))
    for title, name, ways in wanted:
        methods[title] = compare(run, name, ways, not options.no_memory)
        ratio = next(iter(methods[title]["ratios"].values()))["median"]
        console.print(f"{run.shape}, {title}: equal losses, {ratio:.2f} times faster")
    millions = f"{shape.parameters / 1e6:.1f} M parameters, {shape.body_parameters / 1e6:.1f} M of them in the body"
    print_shape(console, f"{run.shape}: {millions}", methods)
    lengths = mean_lengths(run.workload())
    print_lengths(console, lengths)
    return {"parameters": shape.parameters, "body": shape.body_parameters, "lengths": lengths, "methods": methods}


def main() -> None:
    """Measure and print."""
    options = arguments()
    prepare(options.threads)
    console = Console(width=170)
    result: dict[str, Any] = {"commit": commit(), "threads": options.threads, "torch": torch.__version__, "steps": options.steps}
    console.print(f"commit {result['commit']}, torch {torch.__version__}, {options.threads} thread, {options.steps} timed steps")
    result["shapes"] = {}
    for name in options.shapes.split(","):
        run = Run(name, options.steps, options.threads, options.seed, options.text)
        result["shapes"][name] = measure_shape(run, options, console)
        _write(result, options.json)
    if options.scaling:
        result["scaling"] = measure_scaling(SHAPES[options.shapes.split(",")[0]], 3)
        print_scaling(console, result["scaling"])
    _write(result, options.json)


def _write(result: dict[str, Any], path: Path | None) -> None:
    if path is not None:
        path.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
