"""SEAL's training loop (Algorithm 2): theta by the engine, omega by the closed form, both from one forward pass."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from raysafe.data.batches import Share, TokenBatch, collate, cycled, shuffled, split
from raysafe.data.tokens import TokenRow
from raysafe.errors import StageError
from raysafe.models.log_probs import label_log_probs
from raysafe.objectives import batch_means, sequence_log_prob
from raysafe.selection.diagnostics import auc
from raysafe.selection.seal import Seal, omega_step, row_weights, theta_losses
from raysafe.settings import TrainingSettings
from raysafe.training.context import Context
from raysafe.training.engine import Engine
from raysafe.training.loop import save_state


@dataclass(frozen=True)
class SelectorData:
    """Token rows of D and D_safe. `index` of D's rows points into the loaded, unfiltered D of `total` rows.

    unsafe_N: labels of D, bool, or None; they are reported on, never trained on.
    """

    finetune: Sequence[TokenRow]
    safe: Sequence[TokenRow]
    total: int
    unsafe_N: Tensor | None
    pad_id: int


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
        start = (epoch * steps + step) * seal.safe_batch_size
        safe = cycled(len(data.safe), seed, "safe", start, seal.safe_batch_size)
        omega_K, losses = selector_step(engine, seal, data, omega_K, finetune, safe, seal.gamma_at(epoch), context)
        if not all(map(math.isfinite, losses.values())):
            raise StageError(f"selector step {epoch * steps + step + 1}: the loss is not finite: {losses}, rows {finetune}.")
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
    finetune: Sequence[int],
    safe: Sequence[int],
    gamma: float,
    context: Context,
) -> tuple[Tensor, dict[str, float]]:
    """One step of Algorithm 2 on the given positions (of the K kept rows). Returns the new omega and the mean unweighted losses.

    Losses of all workers are gathered, so that every rank makes the same update of the whole omega.
    """
    weights_K = row_weights(omega_K, seal.weights)
    places = {"safe": (safe, seal.safe_batch_size), "finetune": (finetune, seal.batch_size)}
    shares = {name: split(p, size, seal.accumulation, context.world_size) for name, (p, size) in places.items()}
    seen: dict[str, list[tuple[int, float]]] = {"safe": [], "finetune": []}
    for micro in range(seal.accumulation):
        mine: dict[str, Share] = {name: share[micro][context.rank] for name, share in shares.items()}
        batch = collate(mine, {"safe": data.safe, "finetune": data.finetune}, data.pad_id).to(context.device)
        losses = _row_losses(engine.module, batch, gamma)
        weights_B = weights_K[list(batch.positions["finetune"])].to(context.device)
        parts = theta_losses(losses["safe"], losses["finetune"], weights_B, gamma)
        row_mask = {name: batch.weights_B[part] for name, part in batch.streams.items()}
        means = batch_means(parts, row_mask, {"safe": len(safe), "finetune": len(finetune)})
        engine.backward(means["safe"] + means["finetune"])
        for name, share in mine.items():
            values = losses[name].detach().tolist()
            seen[name] += [(p, v) for p, v in zip(share.positions, values, strict=True) if p is not None]
    everyone = {name: [pair for part in context.gather(pairs) for pair in part] for name, pairs in seen.items()}
    rows_B = torch.tensor([place for place, _ in everyone["finetune"]])
    losses_B = torch.tensor([loss for _, loss in everyone["finetune"]], dtype=torch.float64)
    mean = {name: sum(loss for _, loss in pairs) / max(len(pairs), 1) for name, pairs in everyone.items()}
    return omega_step(omega_K, rows_B, losses_B, seal.lr, seal.weights), mean


def _row_losses(module: Any, batch: TokenBatch, gamma: float) -> dict[str, Tensor]:
    """l(theta; z), length-normalised NLL, per row and stream. At gamma = 0 D's rows can't move theta: no gradient there."""
    if gamma > 0:
        return _losses(module, batch, slice(None), batch.streams)
    streams = batch.streams
    with torch.no_grad():
        finetune = _losses(module, batch, streams["finetune"], {"finetune": slice(None)})
    return _losses(module, batch, streams["safe"], {"safe": slice(None)}) | finetune


def _losses(module: Any, batch: TokenBatch, rows: slice, streams: Any) -> dict[str, Tensor]:
    mask_BT = batch.label_mask_BT[rows]
    log_probs_BT = label_log_probs(module, batch.input_ids_BT[rows], batch.attention_mask_BT[rows], mask_BT)
    losses_B = -sequence_log_prob(log_probs_BT, mask_BT) / mask_BT.sum(dim=-1)
    return {name: losses_B[part] for name, part in streams.items()}
