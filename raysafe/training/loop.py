"""The training loop of every objective: plan the step, one forward of all streams, the formula, the engine."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from raysafe.config.sections import TrainingSettings
from raysafe.context import Context
from raysafe.data.batches import cycled, shuffled
from raysafe.errors import NotFiniteError
from raysafe.objectives import Objective
from raysafe.training.engine import Engine
from raysafe.training.schedule import lr_at
from raysafe.training.step import StepPlan, TrainingData, train_step

AfterEpoch = Callable[[Engine, int], dict[str, float]]


def steps_per_epoch(data: TrainingData, settings: TrainingSettings) -> int:
    """An epoch is one pass over the longer of the retain and the alignment rows."""
    return math.ceil(max(len(rows) for rows in data.rows.values()) / settings.batch_size)


def plan_step(data: TrainingData, settings: TrainingSettings, seed: int, epoch: int, step: int) -> StepPlan:
    """What step `step` of `epoch` sees. The longer stream is passed over once an epoch, the other cycles through its own
    shuffled passes; both depend on the seed alone, not on workers or accumulation."""
    size = settings.batch_size
    sizes = {"retain": len(data.rows["retain"]), "align": data.pairs}
    longer = max(sizes, key=lambda name: sizes[name])
    positions: dict[str, Sequence[int]] = {}
    for name, rows in sizes.items():
        if name == longer:
            positions[name] = shuffled(rows, seed, name, epoch)[step * size : (step + 1) * size]
        else:
            start = (epoch * steps_per_epoch(data, settings) + step) * size
            positions[name] = cycled(rows, seed, name, start, size) if rows else []
    number = epoch * steps_per_epoch(data, settings) + step
    return StepPlan(number, positions["retain"], positions["align"])


def train(
    engine: Engine,
    objective: Objective,
    data: TrainingData,
    settings: TrainingSettings,
    seed: int,
    context: Context,
    after_epoch: AfterEpoch,
    state_folder: Path | None = None,
) -> None:
    """Train what `engine` holds, to the last epoch.

    Reports after every epoch: train/loss, train/align_loss, train/retain_loss (means over the epoch's steps), train/lr,
    train/tokens_per_s, epoch, and what `after_epoch` adds. With `state_folder` it goes on after the last whole epoch. Raises
    NotFiniteError before a step on a loss that is not finite, and after an epoch that left such parameters.
    """
    first_epoch = 0
    if state_folder is not None and (state_folder / "DONE").exists():
        first_epoch = int(engine.load_state(state_folder)["epoch"]) + 1
    per_epoch = steps_per_epoch(data, settings)
    for epoch in range(first_epoch, settings.epochs):
        row = _train_epoch(engine, objective, data, settings, seed, context, epoch, per_epoch)
        check_finite(engine, context, epoch)
        row |= after_epoch(engine, epoch)
        if state_folder is not None and epoch + 1 < settings.epochs:
            save_state(engine, state_folder, epoch, context)
        context.report((epoch + 1) * per_epoch, {"epoch": epoch + 1, **row})


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


def _train_epoch(
    engine: Engine,
    objective: Objective,
    data: TrainingData,
    settings: TrainingSettings,
    seed: int,
    context: Context,
    epoch: int,
    per_epoch: int,
) -> dict[str, float]:
    started, tokens = time.monotonic(), 0.0
    sums = {"train/loss": 0.0, "train/align_loss": 0.0, "train/retain_loss": 0.0}
    for step in range(per_epoch):
        context.check_stop()
        number = epoch * per_epoch + step
        lr = lr_at(number, per_epoch * settings.epochs, settings)
        engine.set_lr(lr)
        plan = plan_step(data, settings, seed, epoch, step)
        losses, step_tokens = train_step(engine, objective, data, settings, plan, context, seed)
        tokens += step_tokens
        for name, value in losses.items():
            sums[name] += value
    seconds = max(time.monotonic() - started, 1e-9)
    means = {name: total / per_epoch for name, total in sums.items()}
    if not data.pairs:
        del means["train/align_loss"]
    return {**means, "train/lr": lr, "train/tokens_per_s": tokens / seconds}
