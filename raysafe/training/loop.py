"""The training loop of every objective: plan the step, one forward of all streams, the formula, the engine."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from raysafe.context import Context
from raysafe.data.batches import cycled, shuffled
from raysafe.errors import NotFiniteError
from raysafe.training.engine import Engine
from raysafe.training.schedule import lr_at
from raysafe.training.step import Run, StepPlan, train_step

AfterEpoch = Callable[[Engine, int], dict[str, float]]


def steps_per_epoch(run: Run) -> int:
    """An epoch is one pass over the longer of the retain and the alignment rows."""
    return math.ceil(max(len(rows) for rows in run.data.rows.values()) / run.settings.batch_size)


def plan_training_step(run: Run, epoch: int, step: int) -> StepPlan:
    """What step `step` of `epoch` sees. The longer stream is passed over once an epoch, the other cycles through its own
    shuffled passes; both depend on the seed alone, not on workers or accumulation."""
    size, first = run.settings.batch_size, epoch * steps_per_epoch(run)
    sizes = {"retain": len(run.data.rows["retain"]), "align": run.data.pairs}
    longer = max(sizes, key=lambda name: sizes[name])
    positions: dict[str, Sequence[int]] = {}
    for name, rows in sizes.items():
        if name == longer:
            positions[name] = shuffled(rows, run.seed, name, epoch)[step * size : (step + 1) * size]
        else:
            positions[name] = cycled(rows, run.seed, name, (first + step) * size, size) if rows else []
    return StepPlan(first + step, positions["retain"], positions["align"])


def train(engine: Engine, run: Run, context: Context, after_epoch: AfterEpoch, state_folder: Path | None = None) -> None:
    """Train what `engine` holds, to the last epoch.

    Reports after every epoch: train/loss, train/align_loss, train/retain_loss (means over the epoch's steps), train/lr,
    train/tokens_per_s, epoch, and what `after_epoch` adds. With `state_folder` it goes on after the last whole epoch. Raises
    NotFiniteError before a step on a loss that is not finite, and after an epoch that left such parameters.
    """
    first_epoch = 0
    if state_folder is not None and (state_folder / "DONE").exists():
        first_epoch = int(engine.load_state(state_folder)["epoch"]) + 1
    for epoch in range(first_epoch, run.settings.epochs):
        row = _train_epoch(engine, run, context, epoch)
        check_finite(engine, context, epoch)
        row |= after_epoch(engine, epoch)
        if state_folder is not None and epoch + 1 < run.settings.epochs:
            save_state(engine, state_folder, epoch, context)
        context.report((epoch + 1) * steps_per_epoch(run), {"epoch": epoch + 1, **row})


class Kept(Protocol):
    """What can be checked and saved: an engine, or several that learn together."""

    def finite(self) -> bool: ...

    def save_state(self, folder: Path, extra: dict[str, Any]) -> None: ...


def check_finite(engine: Kept, context: Context, epoch: int) -> None:
    """Every rank calls it after an epoch, before anything is kept. Raises NotFiniteError on all of them."""
    if context.total([float(not engine.finite())])[0]:
        raise NotFiniteError(f"epoch {epoch + 1}: parameters are no longer finite after its last step.")


def save_state(engine: Kept, folder: Path, epoch: int, context: Context, **extra: Any) -> None:
    """Write what resuming needs; the mark DONE is there only while the state is whole."""
    mark = folder / "DONE"
    if context.rank == 0:
        mark.unlink(missing_ok=True)
    context.barrier()
    engine.save_state(folder, {"epoch": epoch, **extra})
    context.barrier()
    if context.rank == 0:
        mark.touch()


def _train_epoch(engine: Engine, run: Run, context: Context, epoch: int) -> dict[str, float]:
    per_epoch = steps_per_epoch(run)
    started, tokens = time.monotonic(), 0.0
    sums = {"train/loss": 0.0, "train/align_loss": 0.0, "train/retain_loss": 0.0}
    for step in range(per_epoch):
        context.check_stop()
        plan = plan_training_step(run, epoch, step)
        lr = lr_at(plan.number, per_epoch * run.settings.epochs, run.settings)
        engine.set_lr(lr)
        losses, step_tokens = train_step(engine, run, plan, context)
        tokens += step_tokens
        for name, value in losses.items():
            sums[name] += value
    seconds = max(time.monotonic() - started, 1e-9)
    means = {name: total / per_epoch for name, total in sums.items()}
    if not run.data.pairs:
        del means["train/align_loss"]
    return {**means, "train/lr": lr, "train/tokens_per_s": tokens / seconds}
