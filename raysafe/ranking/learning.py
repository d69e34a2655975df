"""The training of any selector that learns: models by engines, row weights by its own formulas, from one forward pass each."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from raysafe.config.sections import TrainingSettings
from raysafe.context import Context
from raysafe.data.batches import Batch, collate, cycled, label_count, label_mask, lay_out, shuffled, split
from raysafe.data.tokens import TokenRow
from raysafe.objectives import batch_means, sequence_log_prob
from raysafe.selection.base import Learned, Visit
from raysafe.selection.measures import auc
from raysafe.training.engine import Engine, Engines, Load, open_engine
from raysafe.training.loop import check_finite, save_state
from raysafe.training.step import not_finite, rows_where, seed_step

Losses = dict[str, Tensor]
"""Stream to l(model; z), length-normalised NLL, one a row."""


@dataclass(frozen=True)
class SelectorData:
    """Token rows of D and D_safe. `index` of D's rows points into the loaded, unfiltered D of `total` rows.

    unsafe_N: labels of D, bool, or None; they are reported on, never trained on.
    """

    finetune: Sequence[TokenRow]
    safe: Sequence[TokenRow]
    total: int
    unsafe_N: Tensor | None

    @property
    def places_K(self) -> Tensor:
        """Where the K rows that can be used stand among all, int64."""
        return torch.tensor([row.index for row in self.finetune])


@dataclass(frozen=True)
class SelectorStep:
    """A step's number, from 0, its epoch, and the positions (of the K usable rows of D, and of D_safe) that it sees."""

    number: int
    epoch: int
    finetune: Sequence[int]
    safe: Sequence[int]


@dataclass(frozen=True)
class SelectorRun:
    """What learns, on what, by which seed."""

    selector: Learned
    data: SelectorData
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """An epoch is one pass over D."""
        return math.ceil(len(self.data.finetune) / self.selector.batch_size)

    def step(self, epoch: int, number: int) -> SelectorStep:
        """Step `number` of `epoch`: D is passed over once an epoch, D_safe cycles; both depend on the seed alone."""
        size, safe_size = self.selector.batch_size, self.selector.safe_batch_size
        overall = epoch * self.steps_per_epoch + number
        finetune = shuffled(len(self.data.finetune), self.seed, "finetune", epoch)[number * size : (number + 1) * size]
        safe = cycled(len(self.data.safe), self.seed, "safe", overall * safe_size, safe_size)
        return SelectorStep(overall, epoch, finetune, safe)


def engine_settings(selector: Learned, training: TrainingSettings) -> TrainingSettings:
    """How its models are trained: step size, betas and sizes are its own; ZeRO stage, precision and clipping the trial's."""
    return TrainingSettings(
        epochs=selector.epochs,
        batch_size=selector.batch_size,
        accumulation=selector.accumulation,
        lr=selector.model_lr,
        betas=selector.betas,
        clip=training.clip,
        **training.computing,
    )


@dataclass(frozen=True)
class Learners:
    """The engines of a selector's models, by name, the first one's first."""

    engines: Mapping[str, Engine]

    def _folders(self, folder: Path) -> list[tuple[Engine, Path]]:
        first, *others = self.engines
        return [(self.engines[first], folder), *((self.engines[name], folder / name) for name in others)]

    def load_state(self, folder: Path) -> dict[str, Any]:
        """Restore what `save_state` wrote; returns its `extra`."""
        first, *_ = [engine.load_state(where) for engine, where in self._folders(folder)]
        return first

    def save_state(self, folder: Path, extra: dict[str, Any]) -> None:
        """Everything that a resumed run needs, with `extra`; called by every rank."""
        for number, (engine, where) in enumerate(self._folders(folder)):
            engine.save_state(where, {} if number else extra)

    def finite(self) -> bool:
        """Whether all parameters that this process holds are finite."""
        return all(engine.finite() for engine in self.engines.values())


@contextmanager
def open_learners(
    selector: Learned, engines: Engines, load: Load, settings: TrainingSettings, device: torch.device
) -> Iterator[Learners]:
    """An engine for each of its models, all around what `load` gives, closed however the block ends."""
    with ExitStack() as stack:
        yield Learners({name: stack.enter_context(open_engine(engines, load, settings, device)) for name in selector.models()})


def learned_state(learners: Learners, run: SelectorRun, context: Context, state_folder: Path | None = None) -> Any:
    """The selector's state after its training, the same on all ranks.

    It is learned over the K rows that a filter left, in their order: a dropped row in SEAL's softmax would gather the weight that
    the others lose, as no loss of its own ever pulls it down.
    Reports after every epoch: selector/safe_loss, selector/finetune_loss, selector/MODEL_loss of further models,
    selector/weight_min, _max and _std over the K rows, selector/auc if labels are known, and what the selector adds. With
    `state_folder` it goes on after the last whole epoch. Raises NotFiniteError.
    """
    selector = run.selector
    state, first_epoch = selector.start(len(run.data.finetune), run.seed), 0
    if state_folder is not None and (state_folder / "DONE").exists():
        saved = learners.load_state(state_folder)
        state, first_epoch = type(state)(**saved["state"]), int(saved["epoch"]) + 1
    for epoch in range(first_epoch, selector.epochs):
        state, row = _epoch(learners, run, state, epoch, context)
        check_finite(learners, context, epoch)
        if state_folder is not None and epoch + 1 < selector.epochs:
            save_state(learners, state_folder, epoch, context, state=asdict(state))
        context.report((epoch + 1) * run.steps_per_epoch, {"epoch": epoch + 1, **row})
    return state


def _epoch(learners: Learners, run: SelectorRun, state: Any, epoch: int, context: Context) -> tuple[Any, dict[str, float]]:
    sums: dict[str, float] = {}
    steps = run.steps_per_epoch
    for number in range(steps):
        context.check_stop()
        state, losses = selector_step(learners, run, state, run.step(epoch, number), context)
        sums = {name: sums.get(name, 0.0) + loss for name, loss in losses.items()}
    row = {f"selector/{name}_loss": total / steps for name, total in sums.items()}
    row |= {**run.selector.report(epoch), **_spread(run.selector.weights_of(state))}
    unsafe_N = run.data.unsafe_N
    score = auc(run.selector.scores_of(state), unsafe_N[run.data.places_K]) if unsafe_N is not None else None
    return state, row if score is None else {**row, "selector/auc": score}


def _spread(weights_K: Tensor) -> dict[str, float]:
    values = {"min": weights_K.min(), "max": weights_K.max(), "std": weights_K.std(correction=0)}
    return {f"selector/weight_{name}": float(value) for name, value in values.items()}


def selector_step(
    learners: Learners, run: SelectorRun, state: Any, step: SelectorStep, context: Context
) -> tuple[Any, dict[str, float]]:
    """One step. Returns the new state and the mean unweighted losses of the step, by the names they are reported under.

    Losses of all workers are gathered, so that every rank makes the same update of the whole state. Raises NotFiniteError, on
    every rank, before anything is trained on a loss that is infinite or NaN.
    """
    selector, rows = run.selector, {"safe": run.data.safe, "finetune": run.data.finetune}
    weights_K = selector.weights_of(state)
    places = {"safe": (step.safe, selector.safe_batch_size), "finetune": (step.finetune, selector.batch_size)}
    shares = {name: split(p, size, selector.accumulation, context.world_size) for name, (p, size) in places.items()}
    seen: dict[tuple[str, str], list[tuple[int, float]]] = {}
    seed_step(run.seed, step.number, context)
    for micro in range(selector.accumulation):
        mine = {name: share[micro][context.rank] for name, share in shares.items()}
        batch = collate(mine, rows)
        weights_B = weights_K[list(batch.positions["finetune"])].to(context.device)
        for (model, stream), losses_B in _descend(learners, MicroBatch(selector, step, batch, weights_B), context).items():
            pairs = zip(mine[stream].positions, losses_B.tolist(), strict=True)
            seen.setdefault((model, stream), []).extend((place, loss) for place, loss in pairs if place is not None)
    everyone = {name: [pair for part in context.gather(pairs) for pair in part] for name, pairs in seen.items()}
    values = {name: torch.tensor([loss for _, loss in pairs], dtype=torch.float64) for name, pairs in everyone.items()}
    of_d = {model: losses_B for (model, stream), losses_B in values.items() if stream == "finetune"}
    rows_B = torch.tensor([place for place, _ in everyone[next(iter(of_d)), "finetune"]])
    state = selector.updated(state, Visit(rows_B, of_d, weights_K))
    return state, {_told(learners, *name): float(losses_B.mean()) for name, losses_B in values.items()}


def _told(learners: Learners, model: str, stream: str) -> str:
    """What losses are called in reports: the first model's by their stream, another's on D by the model."""
    if model == next(iter(learners.engines)):
        return stream
    return model if stream == "finetune" else f"{model}_{stream}"


@dataclass(frozen=True)
class MicroBatch:
    """What a selector's formulas see at once. weights_B: of the rows of `finetune`, on the device."""

    selector: Learned
    step: SelectorStep
    batch: Batch
    weights_B: Tensor

    def loss(self, model: str, losses: Mapping[str, Tensor]) -> Tensor:
        """This micro-batch's share of what the model descends in the step."""
        step_rows = {"safe": len(self.step.safe), "finetune": len(self.step.finetune)}
        masks = {name: self.batch.weights_B[part].to(self.weights_B.device) for name, part in self.batch.streams.items()}
        descended = self.selector.descent(model, losses, self.weights_B, self.step.epoch)
        first, *others = batch_means(descended, masks, step_rows).values()
        return sum(others, start=first)


def _descend(learners: Learners, part: MicroBatch, context: Context) -> dict[tuple[str, str], Tensor]:
    """Gradients of one micro-batch into all models; the losses of their rows by model and stream, from before the update."""
    gradients: list[tuple[Engine, Any]] = []
    losses: dict[tuple[str, str], Tensor] = {}
    for model, engine in learners.engines.items():
        loss, of_streams = _forward(engine, part, model)
        gradients.append((engine, loss))
        losses |= {(model, stream): losses_B for stream, losses_B in of_streams.items()}
    _check(learners, losses, part, context)
    for engine, loss in gradients:
        engine.backward(loss)
    return losses


def _check(learners: Learners, losses: Mapping[tuple[str, str], Tensor], part: MicroBatch, context: Context) -> None:
    faults = {}
    for (model, stream), losses_B in losses.items():
        rows = part.batch.rows[part.batch.streams[stream]]
        faults[_told(learners, model, stream)] = rows_where(rows, ~torch.isfinite(losses_B))
    if context.total([float(any(faults.values()))])[0]:
        raise not_finite(part.step.number, faults, context)


def _forward(engine: Engine, part: MicroBatch, model: str) -> tuple[Any, Losses]:
    """The loss, with gradient, and l(model; z) per row and stream, without. Rows that can't move it get a forward pass only."""
    streams = part.selector.models()[model]
    unmoved = part.selector.unmoved(model, part.step.epoch)
    known: Losses = {}
    if unmoved:
        with torch.no_grad():
            _, known = _losses(engine, part.batch, [name for name in streams if name in unmoved], None)
    moving = [name for name in streams if name not in unmoved]
    loss, losses = _losses(engine, part.batch, moving, lambda losses: part.loss(model, {**losses, **known}))
    return loss, {**losses, **known}


def _losses(
    engine: Engine, batch: Batch, streams: Sequence[str], loss_of: Callable[[Losses], Tensor] | None
) -> tuple[Any, Losses]:
    rows = [row for name in streams for row in batch.rows[batch.streams[name]]]
    mask_BT = label_mask(rows).to(engine.device)
    sizes = [len(batch.rows[batch.streams[name]]) for name in streams]

    def by_stream(log_probs_L: Tensor) -> Losses:
        losses_B = -sequence_log_prob(lay_out(log_probs_L, mask_BT), mask_BT) / mask_BT.sum(dim=-1)
        return dict(zip(streams, losses_B.split(sizes), strict=True))

    linear_L = torch.ones(label_count(rows), dtype=torch.bool)
    of_labels = None if loss_of is None else (lambda log_probs_L: loss_of(by_stream(log_probs_L)))
    loss, log_probs_L = engine.module(rows, linear_L, of_labels)
    return loss, by_stream(log_probs_L)
