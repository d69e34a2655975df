"""One optimiser step of an objective: rows to label log-probabilities to per-example losses to the engine."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from raysafe.config.sections import TrainingSettings
from raysafe.context import Context
from raysafe.data.batches import Batch, Share, collate, label_count, label_mask, lay_out, split
from raysafe.data.tokens import TokenRow
from raysafe.errors import NotFiniteError
from raysafe.objectives import Objective, StreamLogProbs, batch_means, total_loss
from raysafe.training.engine import Engine

RowPlace = tuple[str, int]
"""A row's file and its index there."""
Faults = Mapping[str, Sequence[RowPlace]]
"""Rows to blame, by stream."""


@dataclass(frozen=True)
class TrainingData:
    """Token rows by stream, and the frozen models' label log-probabilities: `frozen[stream][model][place]`, one tensor a row.

    The rows of `safe` and `harmful` are pairs, in order.
    """

    rows: Mapping[str, Sequence[TokenRow]]
    frozen: Mapping[str, Mapping[str, Sequence[Tensor]]]
    padded: int = 511
    """Positions that `*_released` losses average over (`StreamLogProbs.padded`); 511 in the released data."""

    @property
    def pairs(self) -> int:
        """Number of alignment rows."""
        return next((len(rows) for name, rows in self.rows.items() if name != "retain"), 0)


@dataclass(frozen=True)
class Run:
    """What is trained by: the formula, the rows, the settings, and the seed that everything drawn depends on."""

    objective: Objective
    data: TrainingData
    settings: TrainingSettings
    seed: int = 0


@dataclass(frozen=True)
class StepPlan:
    """An optimiser step's number, from 0, and the positions of its retain rows and of its alignment pairs."""

    number: int
    retain: Sequence[int]
    align: Sequence[int]


def train_step(engine: Engine, run: Run, plan: StepPlan, context: Context) -> tuple[dict[str, float], float]:
    """One optimiser step. Returns the losses (means over the whole step, all workers) and the tokens of its rows.

    Raises NotFiniteError, on every rank, before anything is trained on a loss that is infinite or NaN.
    """
    data, settings = run.data, run.settings
    places = {name: plan.retain if name == "retain" else plan.align for name in data.rows}
    step_rows = {"retain": len(plan.retain), "align": len(plan.align)}
    shares = {name: split(p, settings.batch_size, settings.accumulation, context.world_size) for name, p in places.items()}
    sums, names = [0.0, 0.0, 0.0, 0.0], ("train/loss", "train/align_loss", "train/retain_loss")
    seed_step(run.seed, plan.number, context)
    for micro in range(settings.accumulation):
        mine: dict[str, Share] = {name: share[micro][context.rank] for name, share in shares.items()}
        batch = collate(mine, data.rows)
        formula = Formula.of(run.objective, data, batch, step_rows, context.device)
        loss, log_probs_L = engine.module(batch.rows, formula.linear_L, formula.loss)
        values = formula.values(log_probs_L)
        total = context.total([*values, float(sum(len(row.input_ids) for row in batch.rows))])
        if not all(map(math.isfinite, total)):
            raise not_finite(plan.number, formula.faults(log_probs_L), context)
        engine.backward(loss)
        sums = [before + now for before, now in zip(sums, total, strict=True)]
    *losses, tokens = sums
    return dict(zip(names, losses, strict=True)), tokens


def seed_step(seed: int, number: int, context: Context) -> None:
    """Whatever a step draws (dropout) depends on seed, step and worker alone, so that a resumed run draws it again."""
    torch.manual_seed((seed * 1_000_003 + number) * 4096 + context.rank)


@dataclass(frozen=True)
class Formula:
    """An objective on one micro-batch, as a function of its label log-probabilities, shape L.

    masks, frozen, lengths: by stream, on the device; labels from the left. linear_L: bool, labels of the streams in which the
    loss is linear.
    """

    objective: Objective
    batch: Batch
    masks: Mapping[str, Tensor]
    frozen: Mapping[str, Mapping[str, Tensor]]
    linear_L: Tensor
    step_rows: Mapping[str, int]
    weights: Mapping[str, Tensor]
    lengths: Mapping[str, Tensor]
    padded: int

    @classmethod
    def of(
        cls, objective: Objective, data: TrainingData, batch: Batch, step_rows: Mapping[str, int], device: torch.device
    ) -> "Formula":
        """Lay out what does not depend on the policy."""
        masks, frozen, weights, lengths, linear = {}, {}, {}, {}, []
        for name, rows in batch.streams.items():
            masks[name] = label_mask(batch.rows[rows]).to(device)
            values = data.frozen.get(name, {})
            flat = {model: torch.cat([rows_[place] for place in batch.positions[name]]) for model, rows_ in values.items()}
            frozen[name] = {model: lay_out(flat_L.to(device), masks[name]) for model, flat_L in flat.items()}
            weights["retain" if name == "retain" else "align"] = batch.weights_B[rows].to(device)
            linear += [name in objective.linear] * label_count(batch.rows[rows])
            lengths[name] = torch.tensor([len(row.input_ids) for row in batch.rows[rows]], device=device)
        return cls(objective, batch, masks, frozen, torch.tensor(linear), step_rows, weights, lengths, data.padded)

    def streams(self, log_probs_L: Tensor) -> dict[Any, StreamLogProbs]:
        """What the objective is called on."""
        counts = [label_count(self.batch.rows[rows]) for rows in self.batch.streams.values()]
        parts = dict(zip(self.batch.streams, log_probs_L.split(counts), strict=True))
        return {
            name: StreamLogProbs(
                lay_out(parts[name], mask_BT),
                mask_BT,
                self.frozen[name],
                padded=self.padded,
                lengths_B=self.lengths[name],
                step_rows=self.step_rows["retain" if name == "retain" else "align"],
            )
            for name, mask_BT in self.masks.items()
        }

    def means(self, log_probs_L: Tensor) -> dict[str, Tensor]:
        """The micro-batch's share of each loss's mean over the step."""
        return batch_means(self.objective(self.streams(log_probs_L)), self.weights, self.step_rows)

    def loss(self, log_probs_L: Tensor) -> Tensor:
        """Its share of the total loss."""
        return total_loss(self.means(log_probs_L), self.objective.alpha)

    @torch.no_grad()
    def values(self, log_probs_L: Tensor) -> list[float]:
        """Its shares of the total, the alignment and the retain loss."""
        means = self.means(log_probs_L)
        align = means["align"].item() if "align" in means else 0.0
        return [total_loss(means, self.objective.alpha).item(), align, means["retain"].item()]

    @torch.no_grad()
    def faults(self, log_probs_L: Tensor) -> Faults:
        """By stream, the rows that are to blame: their own log-probabilities are not finite, or else
        the objective's value on them is not."""
        streams = self.streams(log_probs_L)
        bad = {name: ~torch.isfinite(stream.policy_BT).all(dim=-1) for name, stream in streams.items()}
        if not any(bad_B.any() for bad_B in bad.values()):
            losses = self.objective(streams)
            bad = {name: ~torch.isfinite(losses["retain" if name == "retain" else "align"]) for name in streams}
        return {name: rows_where(self.batch.rows[self.batch.streams[name]], bad_B) for name, bad_B in bad.items()}


def rows_where(rows: Sequence[TokenRow], chosen_B: Tensor) -> list[RowPlace]:
    """Where the chosen rows stand."""
    return [(row.source, row.index) for row, chosen in zip(rows, chosen_B.tolist(), strict=True) if chosen]


def not_finite(number: int, faults: Faults, context: Context) -> NotFiniteError:
    """The error that names step, stream, file and rows of all workers; every rank calls it."""
    found: dict[tuple[str, str], set[int]] = {}
    for part in context.gather(dict(faults)):
        for name, rows in part.items():
            for source, index in rows:
                found.setdefault((name, source), set()).add(index)
    named = [
        f"`{name}` row{'s' if len(rows) > 1 else ''} {', '.join(map(str, sorted(rows)))}{f' of {source}' if source else ''}"
        for (name, source), rows in found.items()
    ]
    where = " and ".join(named) or "the sum over the step, of no row alone"
    return NotFiniteError(f"step {number + 1}: the loss is not finite because of {where} (rows counted from 0 in their file).")
