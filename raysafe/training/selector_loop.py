"""SEAL's training loop (Algorithm 2): theta by the engine, omega by the closed form, both from one forward pass."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from raysafe.data.batches import Batch, Share, collate, cycled, label_mask, lay_out, shuffled, split
from raysafe.data.tokens import TokenRow
from raysafe.objectives import batch_means, sequence_log_prob
from raysafe.selection.diagnostics import auc
from raysafe.selection.seal import Seal, omega_step, row_weights, theta_losses
from raysafe.settings import TrainingSettings
from raysafe.training.context import Context
from raysafe.training.engine import Engine
from raysafe.training.loop import check_finite, save_state
from raysafe.training.step import indices_where, not_finite, seed_step


@dataclass(frozen=True)
class SelectorData:
    """Token rows of D and D_safe. `index` of D's rows points into the loaded, unfiltered D of `total` rows.

    unsafe_N: labels of D, bool, or None; they are reported on, never trained on.
    """

    finetune: Sequence[TokenRow]
    safe: Sequence[TokenRow]
    total: int
    unsafe_N: Tensor | None


@dataclass(frozen=True)
class SelectorPlan:
    """A step's number, from 0, the positions (of the K kept rows of D, and of D_safe) that it sees, and its gamma."""

    number: int
    finetune: Sequence[int]
    safe: Sequence[int]
    gamma: float


def engine_settings(seal: Seal, training: TrainingSettings) -> TrainingSettings:
    """How theta is trained: SEAL's own step size and betas; ZeRO stage, precision and clipping as the trial's training."""
    return TrainingSettings(
        epochs=seal.epochs,
        batch_size=seal.batch_size,
        accumulation=seal.accumulation,
        lr=seal.model_lr,
        betas=(0.9, 0.95),
        clip=training.clip,
        zero_stage=training.zero_stage,
        precision=training.precision,
        batching=training.batching,
        gradient_checkpointing=training.gradient_checkpointing,
    )


def rank_rows(
    model: Any,
    seal: Seal,
    data: SelectorData,
    settings: TrainingSettings,
    seed: int,
    context: Context,
    state_folder: Path | None = None,
) -> Tensor:
    """omega after training, shape N (every row of the unfiltered D), float64, the same on all ranks.

    It is learned over the K rows that a filter left, in their order: a dropped row in the softmax would gather the weight that
    the others lose, as no loss of its own ever pulls it down. Dropped rows keep the starting value.
    Reports after every epoch: selector/safe_loss, selector/finetune_loss, selector/gamma, and selector/auc if labels are known.
    """
    engine = context.make_engine(model, settings, context.device)
    omega_K, first_epoch = seal.scores(len(data.finetune), seed), 0
    if state_folder is not None and (state_folder / "DONE").exists():
        state = engine.load_state(state_folder)
        omega_K, first_epoch = state["omega"], int(state["epoch"]) + 1
    for epoch in range(first_epoch, seal.epochs):
        omega_K, row = _epoch(engine, seal, data, omega_K, seed, epoch, context)
        check_finite(engine, context, epoch)
        if state_folder is not None and epoch + 1 < seal.epochs:
            save_state(engine, state_folder, epoch, context, omega=omega_K)
        context.report((epoch + 1) * steps_per_epoch(seal, data), {"epoch": epoch + 1, **row})
    engine.close()
    return seal.scores(data.total, seed).index_copy(0, _kept_rows(data), omega_K)


def _kept_rows(data: SelectorData) -> Tensor:
    return torch.tensor([row.index for row in data.finetune])


def steps_per_epoch(seal: Seal, data: SelectorData) -> int:
    """An epoch is one pass over D."""
    return math.ceil(len(data.finetune) / seal.batch_size)


def _epoch(
    engine: Engine, seal: Seal, data: SelectorData, omega_K: Tensor, seed: int, epoch: int, context: Context
) -> tuple[Tensor, dict[str, float]]:
    sums = {"safe": 0.0, "finetune": 0.0}
    steps = steps_per_epoch(seal, data)
    for step in range(steps):
        context.check_stop()
        size = seal.batch_size
        finetune = shuffled(len(data.finetune), seed, "finetune", epoch)[step * size : (step + 1) * size]
        number = epoch * steps + step
        safe = cycled(len(data.safe), seed, "safe", number * seal.safe_batch_size, seal.safe_batch_size)
        plan = SelectorPlan(number, finetune, safe, seal.gamma_at(epoch))
        omega_K, losses = selector_step(engine, seal, data, omega_K, plan, context, seed)
        for name in sums:
            sums[name] += losses[name]
    row = {f"selector/{name}_loss": total / steps for name, total in sums.items()}
    row["selector/gamma"] = seal.gamma_at(epoch)
    score = auc(omega_K, data.unsafe_N[_kept_rows(data)]) if data.unsafe_N is not None else None
    return omega_K, row if score is None else {**row, "selector/auc": score}


def selector_step(
    engine: Engine,
    seal: Seal,
    data: SelectorData,
    omega_K: Tensor,
    plan: SelectorPlan,
    context: Context,
    seed: int = 0,
) -> tuple[Tensor, dict[str, float]]:
    """One step of Algorithm 2. Returns the new omega and the mean unweighted losses.

    Losses of all workers are gathered, so that every rank makes the same update of the whole omega. Raises NotFiniteError, on
    every rank, before anything is trained on a loss that is infinite or NaN.
    """
    weights_K = row_weights(omega_K, seal.weights)
    places = {"safe": (plan.safe, seal.safe_batch_size), "finetune": (plan.finetune, seal.batch_size)}
    shares = {name: split(p, size, seal.accumulation, context.world_size) for name, (p, size) in places.items()}
    step_rows = {"safe": len(plan.safe), "finetune": len(plan.finetune)}
    seen: dict[str, list[tuple[int, float]]] = {"safe": [], "finetune": []}
    seed_step(seed, plan.number, context)
    for micro in range(seal.accumulation):
        mine: dict[str, Share] = {name: share[micro][context.rank] for name, share in shares.items()}
        batch = collate(mine, {"safe": data.safe, "finetune": data.finetune})
        weights_B = weights_K[list(batch.positions["finetune"])].to(context.device)

        def theta_loss(losses: Mapping[str, Tensor], batch: Batch = batch, weights_B: Tensor = weights_B) -> Tensor:
            parts = theta_losses(losses["safe"], losses["finetune"], weights_B, plan.gamma)
            rows = {name: batch.weights_B[part].to(context.device) for name, part in batch.streams.items()}
            return sum(batch_means(parts, rows, step_rows).values(), torch.zeros((), device=context.device))

        loss, losses = _forward(engine, batch, theta_loss, plan.gamma)
        faults = {n: indices_where(batch.rows[batch.streams[n]], ~torch.isfinite(losses_B)) for n, losses_B in losses.items()}
        if context.total([float(any(faults.values()))])[0]:
            raise not_finite(plan.number, faults, context)
        engine.backward(loss)
        for name, share in mine.items():
            values = losses[name].tolist()
            seen[name] += [(p, v) for p, v in zip(share.positions, values, strict=True) if p is not None]
    everyone = {name: [pair for part in context.gather(pairs) for pair in part] for name, pairs in seen.items()}
    rows_B = torch.tensor([place for place, _ in everyone["finetune"]])
    losses_B = torch.tensor([loss for _, loss in everyone["finetune"]], dtype=torch.float64)
    mean = {name: sum(loss for _, loss in pairs) / max(len(pairs), 1) for name, pairs in everyone.items()}
    return omega_step(omega_K, rows_B, losses_B, seal.lr, seal.weights), mean


RowLosses = Callable[[Mapping[str, Tensor]], Tensor]
"""Per-row losses by stream to a scalar, linear in them."""


def _forward(engine: Engine, batch: Batch, loss_of: RowLosses, gamma: float) -> tuple[Any, dict[str, Tensor]]:
    """The loss, with gradient, and l(theta; z), length-normalised NLL, per row and stream, without. At gamma = 0 D's rows can't
    move theta: a forward pass only."""
    if gamma > 0:
        return _losses(engine, batch, tuple(batch.streams), loss_of)
    with torch.no_grad():
        _, finetune = _losses(engine, batch, ("finetune",), None)
    loss, safe = _losses(engine, batch, ("safe",), lambda losses: loss_of({**losses, **finetune}))
    return loss, safe | finetune


def _losses(engine: Engine, batch: Batch, streams: Sequence[str], loss_of: RowLosses | None) -> tuple[Any, dict[str, Tensor]]:
    rows = [row for name in streams for row in batch.rows[batch.streams[name]]]
    mask_BT = label_mask(rows).to(engine.device)
    sizes = [len(batch.rows[batch.streams[name]]) for name in streams]

    def by_stream(log_probs_L: Tensor) -> dict[str, Tensor]:
        losses_B = -sequence_log_prob(lay_out(log_probs_L, mask_BT), mask_BT) / mask_BT.sum(dim=-1)
        return dict(zip(streams, losses_B.split(sizes), strict=True))

    linear_L = torch.ones(int(mask_BT.sum()), dtype=torch.bool)
    of_labels = None if loss_of is None else (lambda log_probs_L: loss_of(by_stream(log_probs_L)))
    loss, log_probs_L = engine.module(rows, linear_L, of_labels)
    return loss, by_stream(log_probs_L)
