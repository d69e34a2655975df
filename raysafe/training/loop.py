"""The training loop of every objective: plan the step, one forward of all streams, the formula, the engine."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from raysafe.data.batches import Share, TokenBatch, collate, cycled, pad_values, shuffled, split
from raysafe.data.tokens import TokenRow
from raysafe.errors import StageError
from raysafe.models.log_probs import label_log_probs
from raysafe.objectives import Objective, StreamLogProbs, batch_means, total_loss
from raysafe.settings import TrainingSettings
from raysafe.training.context import Context
from raysafe.training.engine import Engine
from raysafe.training.schedule import lr_at


@dataclass(frozen=True)
class TrainingData:
    """Token rows by stream, and the frozen models' label log-probabilities: `frozen[stream][model][place]`, one tensor a row.

    The rows of `safe` and `harmful` are pairs, in order.
    """

    rows: Mapping[str, Sequence[TokenRow]]
    frozen: Mapping[str, Mapping[str, Sequence[Tensor]]]
    pad_id: int


@dataclass(frozen=True)
class StepPlan:
    """Positions of one optimiser step: of the retain rows and of the alignment pairs."""

    retain: Sequence[int]
    align: Sequence[int]


AfterEpoch = Callable[[Engine, int], dict[str, float]]


def steps_per_epoch(data: TrainingData, settings: TrainingSettings) -> int:
    """An epoch is one pass over the longer of the retain and the alignment rows."""
    return math.ceil(max(len(rows) for rows in data.rows.values()) / settings.batch_size)


def plan_step(data: TrainingData, settings: TrainingSettings, seed: int, epoch: int, step: int) -> StepPlan:
    """What step `step` of `epoch` sees. The longer stream is passed over once an epoch, the other cycles through its own
    shuffled passes; both depend on the seed alone, not on workers or accumulation."""
    size = settings.batch_size
    sizes = {"retain": len(data.rows["retain"]), "align": len(next(iter(_alignment(data).values()), ()))}
    longer = max(sizes, key=lambda name: sizes[name])
    positions: dict[str, Sequence[int]] = {}
    for name, rows in sizes.items():
        if name == longer:
            positions[name] = shuffled(rows, seed, name, epoch)[step * size : (step + 1) * size]
        else:
            start = (epoch * steps_per_epoch(data, settings) + step) * size
            positions[name] = cycled(rows, seed, name, start, size) if rows else []
    return StepPlan(positions["retain"], positions["align"])


def _alignment(data: TrainingData) -> dict[str, Sequence[TokenRow]]:
    return {name: rows for name, rows in data.rows.items() if name != "retain"}


def train(
    model: Any,
    objective: Objective,
    data: TrainingData,
    settings: TrainingSettings,
    seed: int,
    context: Context,
    after_epoch: AfterEpoch,
    state_folder: Path | None = None,
) -> Engine:
    """Train `model` and return its engine (the caller closes it).

    Reports after every epoch: train/loss, train/align_loss, train/retain_loss (means over the epoch's steps), train/lr,
    train/tokens_per_s, epoch, and what `after_epoch` adds. With `state_folder` it goes on after the last whole epoch.
    """
    engine = context.make_engine(model, settings, context.device)
    first_epoch = 0
    if state_folder is not None and (state_folder / "DONE").exists():
        first_epoch = int(engine.load_state(state_folder)["epoch"]) + 1
    per_epoch = steps_per_epoch(data, settings)
    for epoch in range(first_epoch, settings.epochs):
        row = _train_epoch(engine, objective, data, settings, seed, context, epoch, per_epoch)
        row |= after_epoch(engine, epoch)
        if state_folder is not None and epoch + 1 < settings.epochs:
            save_state(engine, state_folder, epoch, context)
        context.report((epoch + 1) * per_epoch, {"epoch": epoch + 1, **row})
    return engine


def save_state(engine: Engine, folder: Path, epoch: int, context: Context, **extra: Any) -> None:
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
        losses, step_tokens = train_step(engine, objective, data, settings, plan, context)
        tokens += step_tokens
        if not all(map(math.isfinite, losses.values())):
            raise StageError(f"step {number + 1}: the loss is not finite: {losses}, rows {plan}.")
        for name, value in losses.items():
            sums[name] += value
    seconds = max(time.monotonic() - started, 1e-9)
    means = {name: total / per_epoch for name, total in sums.items()}
    if not _alignment(data):
        del means["train/align_loss"]
    return {**means, "train/lr": lr, "train/tokens_per_s": tokens / seconds}


def train_step(
    engine: Engine,
    objective: Objective,
    data: TrainingData,
    settings: TrainingSettings,
    plan: StepPlan,
    context: Context,
) -> tuple[dict[str, float], float]:
    """One optimiser step. Returns the losses (means over the whole step, all workers) and the tokens it processed."""
    places = {name: plan.retain if name == "retain" else plan.align for name in data.rows}
    step_rows = {"retain": len(plan.retain), "align": len(plan.align)}
    shares = {name: split(p, settings.batch_size, settings.accumulation, context.world_size) for name, p in places.items()}
    values, names = [0.0, 0.0, 0.0, 0.0], ("train/loss", "train/align_loss", "train/retain_loss")
    for micro in range(settings.accumulation):
        mine: dict[str, Share] = {name: share[micro][context.rank] for name, share in shares.items()}
        batch = collate(mine, data.rows, data.pad_id)
        means = micro_losses(engine.module, objective, data, batch.to(context.device), step_rows)
        loss = total_loss(means, objective.alpha)
        engine.backward(loss)
        align = means["align"].item() if "align" in means else 0.0
        parts = [loss.item(), align, means["retain"].item(), float(batch.attention_mask_BT.sum())]
        values = [value + part for value, part in zip(values, parts, strict=True)]
    *losses, tokens = context.total(values)
    return dict(zip(names, losses, strict=True)), tokens


def micro_losses(
    module: Any, objective: Objective, data: TrainingData, batch: TokenBatch, step_rows: Mapping[str, int]
) -> dict[str, Tensor]:
    """The micro-batch's share of each loss's mean over the step, with gradient."""
    log_probs_BT = label_log_probs(module, batch.input_ids_BT, batch.attention_mask_BT, batch.label_mask_BT)
    streams: dict[Any, StreamLogProbs] = {}
    for name, rows in batch.streams.items():
        streams[name] = StreamLogProbs(
            log_probs_BT[rows], batch.label_mask_BT[rows], _frozen(data, name, batch.positions[name], log_probs_BT)
        )
    weights = {name: batch.weights_B[rows] for name, rows in batch.streams.items()}
    align = next((weights[name] for name in weights if name != "retain"), weights["retain"])
    return batch_means(objective(streams), {"align": align, "retain": weights["retain"]}, step_rows)


def _frozen(data: TrainingData, stream: str, positions: Sequence[int], like_BT: Tensor) -> dict[str, Tensor]:
    starts = [data.rows[stream][place].label_start for place in positions]
    return {
        model: pad_values([values[place] for place in positions], starts, like_BT.shape[1]).to(like_BT.device)
        for model, values in data.frozen.get(stream, {}).items()
    }
