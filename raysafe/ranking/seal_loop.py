"""SEAL's training loop: theta (and theta^ of Algorithm 1) by an engine, omega by the closed form, from one forward pass each."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from raysafe.config.sections import TrainingSettings
from raysafe.context import Context
from raysafe.data.batches import Batch, Share, collate, cycled, label_count, label_mask, lay_out, shuffled, split
from raysafe.data.tokens import TokenRow
from raysafe.objectives import batch_means, sequence_log_prob
from raysafe.selection.measures import auc
from raysafe.selection.seal import (
    OmegaState,
    Seal,
    omega_pull,
    omega_start,
    omega_update,
    row_weights,
    theta_hat_losses,
    theta_losses,
)
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


@dataclass(frozen=True)
class Learners:
    """The engine of theta and, with Algorithm 1, that of theta^."""

    theta: Engine
    hat: Engine | None = None

    def load_state(self, folder: Path) -> dict[str, Any]:
        """Restore what `save_state` wrote; returns its `extra`."""
        if self.hat is not None:
            self.hat.load_state(folder / "hat")
        return self.theta.load_state(folder)

    def save_state(self, folder: Path, extra: dict[str, Any]) -> None:
        """Everything that a resumed run needs, with `extra`; called by every rank."""
        if self.hat is not None:
            self.hat.save_state(folder / "hat", {})
        self.theta.save_state(folder, extra)

    def finite(self) -> bool:
        """Whether all parameters that this process holds are finite."""
        return self.theta.finite() and (self.hat is None or self.hat.finite())

    def close(self) -> None:
        """Free both."""
        self.theta.close()
        if self.hat is not None:
            self.hat.close()


def rank_rows(
    load: Callable[[], Any],
    seal: Seal,
    data: SelectorData,
    settings: TrainingSettings,
    seed: int,
    context: Context,
    state_folder: Path | None = None,
) -> Tensor:
    """omega after training, shape N (every row of the unfiltered D), float64, the same on all ranks. `load` gives a fresh model.

    It is learned over the K rows that a filter left, in their order: a dropped row in the softmax would gather the weight that
    the others lose, as no loss of its own ever pulls it down. Dropped rows keep the starting value.
    Reports after every epoch: selector/safe_loss, selector/finetune_loss, selector/gamma, selector/hat_loss with Algorithm 1, and
    selector/auc if labels are known. With `state_folder` it goes on after the last whole epoch. Raises NotFiniteError.
    """
    engines = [context.make_engine(load, settings, context.device) for _ in range(2 if seal.algorithm == 1 else 1)]
    learners = Learners(*engines)
    state, first_epoch = omega_start(seal.scores(len(data.finetune), seed), seal.optimizer), 0
    if state_folder is not None and (state_folder / "DONE").exists():
        saved = learners.load_state(state_folder)
        state, first_epoch = OmegaState(**saved["omega"]), int(saved["epoch"]) + 1
    for epoch in range(first_epoch, seal.epochs):
        state, row = _epoch(learners, seal, data, state, seed, epoch, context)
        check_finite(learners, context, epoch)
        if state_folder is not None and epoch + 1 < seal.epochs:
            save_state(learners, state_folder, epoch, context, omega=asdict(state))
        context.report((epoch + 1) * steps_per_epoch(seal, data), {"epoch": epoch + 1, **row})
    learners.close()
    return seal.scores(data.total, seed).index_copy(0, _kept_rows(data), state.omega_N)


def _kept_rows(data: SelectorData) -> Tensor:
    return torch.tensor([row.index for row in data.finetune])


def steps_per_epoch(seal: Seal, data: SelectorData) -> int:
    """An epoch is one pass over D."""
    return math.ceil(len(data.finetune) / seal.batch_size)


def plan_step(seal: Seal, data: SelectorData, seed: int, epoch: int, step: int) -> SelectorPlan:
    """What step `step` of `epoch` sees: D is passed over once an epoch, D_safe cycles; both depend on the seed alone."""
    number = epoch * steps_per_epoch(seal, data) + step
    finetune = shuffled(len(data.finetune), seed, "finetune", epoch)[step * seal.batch_size : (step + 1) * seal.batch_size]
    safe = cycled(len(data.safe), seed, "safe", number * seal.safe_batch_size, seal.safe_batch_size)
    return SelectorPlan(number, finetune, safe, seal.gamma_at(epoch))


def _epoch(
    learners: Learners, seal: Seal, data: SelectorData, state: OmegaState, seed: int, epoch: int, context: Context
) -> tuple[OmegaState, dict[str, float]]:
    sums: dict[str, float] = {}
    steps = steps_per_epoch(seal, data)
    for step in range(steps):
        context.check_stop()
        state, losses = selector_step(learners, seal, data, state, plan_step(seal, data, seed, epoch, step), context, seed)
        sums = {name: sums.get(name, 0.0) + loss for name, loss in losses.items()}
    row = {f"selector/{name}_loss": total / steps for name, total in sums.items()}
    row["selector/gamma"] = seal.gamma_at(epoch)
    score = auc(state.omega_N, data.unsafe_N[_kept_rows(data)]) if data.unsafe_N is not None else None
    return state, row if score is None else {**row, "selector/auc": score}


def selector_step(
    learners: Learners,
    seal: Seal,
    data: SelectorData,
    state: OmegaState,
    plan: SelectorPlan,
    context: Context,
    seed: int = 0,
) -> tuple[OmegaState, dict[str, float]]:
    """One step of SEAL. Returns the new omega and the mean unweighted losses of the step (`safe`, `finetune`, `hat`).

    Losses of all workers are gathered, so that every rank makes the same update of the whole omega. Raises NotFiniteError, on
    every rank, before anything is trained on a loss that is infinite or NaN.
    """
    weights_K = row_weights(state.omega_N, seal.weights)
    places = {"safe": (plan.safe, seal.safe_batch_size), "finetune": (plan.finetune, seal.batch_size)}
    shares = {name: split(p, size, seal.accumulation, context.world_size) for name, (p, size) in places.items()}
    seen: dict[str, list[tuple[int, float]]] = {}
    seed_step(seed, plan.number, context)
    for micro in range(seal.accumulation):
        mine: dict[str, Share] = {name: share[micro][context.rank] for name, share in shares.items()}
        batch = collate(mine, {"safe": data.safe, "finetune": data.finetune})
        weights_B = weights_K[list(batch.positions["finetune"])].to(context.device)
        losses = _descend(learners, batch, weights_B, plan, context)
        for name, losses_B in losses.items():
            positions = mine["finetune" if name == "hat" else name].positions
            seen.setdefault(name, []).extend((p, v) for p, v in zip(positions, losses_B.tolist(), strict=True) if p is not None)
    everyone = {name: [pair for part in context.gather(pairs) for pair in part] for name, pairs in seen.items()}
    rows_B = torch.tensor([place for place, _ in everyone["finetune"]])
    values = {name: torch.tensor([loss for _, loss in pairs], dtype=torch.float64) for name, pairs in everyone.items()}
    pull_B = omega_pull(values["finetune"], values.get("hat"))
    state = omega_update(state, rows_B, pull_B, seal.lr, seal.weights, seal.optimizer, weights_K)
    return state, {name: float(losses_B.mean()) for name, losses_B in values.items()}


def _descend(learners: Learners, batch: Batch, weights_B: Tensor, plan: SelectorPlan, context: Context) -> dict[str, Tensor]:
    """Gradients of one micro-batch into both models; the losses of their rows, from before the update."""
    step_rows = {"safe": len(plan.safe), "finetune": len(plan.finetune)}
    row_mask = {name: batch.weights_B[part].to(context.device) for name, part in batch.streams.items()}

    def theta_loss(losses: Mapping[str, Tensor]) -> Tensor:
        parts = theta_losses(losses["safe"], losses["finetune"], weights_B, plan.gamma)
        means = batch_means(parts, row_mask, step_rows)
        return means["safe"] + means["finetune"]

    def hat_loss(losses: Mapping[str, Tensor]) -> Tensor:
        return batch_means({"finetune": theta_hat_losses(losses["finetune"], weights_B)}, row_mask, step_rows)["finetune"]

    loss, losses = _forward(learners.theta, batch, theta_loss, plan.gamma)
    gradients = [(learners.theta, loss)]
    if learners.hat is not None:
        loss, hat_losses = _losses(learners.hat, batch, ("finetune",), hat_loss)
        gradients.append((learners.hat, loss))
        losses = {**losses, "hat": hat_losses["finetune"]}
    _check(losses, batch, plan, context)
    for engine, loss in gradients:
        engine.backward(loss)
    return losses


def _check(losses: Mapping[str, Tensor], batch: Batch, plan: SelectorPlan, context: Context) -> None:
    rows = {name: batch.rows[batch.streams["finetune" if name == "hat" else name]] for name in losses}
    faults = {name: indices_where(rows[name], ~torch.isfinite(losses_B)) for name, losses_B in losses.items()}
    if context.total([float(any(faults.values()))])[0]:
        raise not_finite(plan.number, faults, context)


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

    linear_L = torch.ones(label_count(rows), dtype=torch.bool)
    of_labels = None if loss_of is None else (lambda log_probs_L: loss_of(by_stream(log_probs_L)))
    loss, log_probs_L = engine.module(rows, linear_L, of_labels)
    return loss, by_stream(log_probs_L)
