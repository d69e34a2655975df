"""What ranking N rows adds to a training step of SEAL: the weights of all rows and one update of omega, without any model.

One thread, float64, batches of 64 rows; CPU time, so that a busy machine doesn't count. A step computes `row_weights` once and
hands them to `omega_update`.
Run: OMP_NUM_THREADS=1 python benchmarks/selector_step.py [--steps 200]
"""

import argparse
import statistics
import time
from itertools import product
from typing import get_args

import torch

from raysafe.selection.seal import OmegaOptimizer, Weighting, omega_start, omega_update, row_weights

ROWS = (1_000, 11_000, 112_000)
BATCH = 64


def step_seconds(rows: int, weighting: Weighting, optimizer: OmegaOptimizer, steps: int) -> list[float]:
    """CPU seconds of each step; the first tenth warms up and is left out."""
    draw = torch.Generator().manual_seed(0)
    state = omega_start(torch.zeros(rows, dtype=torch.float64), optimizer)
    seconds = []
    for _ in range(steps + steps // 10):
        batch = torch.randint(0, rows, (BATCH,), generator=draw)
        losses = 3 * torch.rand(BATCH, generator=draw, dtype=torch.float64)
        started = time.process_time()
        weights = row_weights(state.omega_N, weighting)
        state = omega_update(state, batch, losses, 5e-3, weighting, optimizer, weights)
        seconds.append(time.process_time() - started)
    return seconds[steps // 10 :]


def main() -> None:
    """Print a Markdown table of milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    sizes = [f"N = {rows:,}" for rows in ROWS]
    columns = ["`selector.weights`", "`selector.optimizer`", *sizes, f"90th percentile at {sizes[-1]}"]
    print(f"| {' | '.join(columns)} |")
    print(f"| {' | '.join('---' for _ in columns)} |")
    for weighting, optimizer in product(get_args(Weighting), get_args(OmegaOptimizer)):
        runs = [[1e3 * second for second in step_seconds(rows, weighting, optimizer, steps)] for rows in ROWS]
        cells = [f"{statistics.median(run):.2f}" for run in runs]
        slow = sorted(runs[-1])[int(0.9 * steps)]
        print(f"| `{weighting}` | `{optimizer}` | {' | '.join(cells)} | {slow:.2f} |")


if __name__ == "__main__":
    main()
