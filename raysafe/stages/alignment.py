"""A real model's own alignment as a stage: taught to keep a world's policy, shallowly, before any trial starts from it.

The sandbox's model is made with its policy in it; one that somebody else has trained knows nothing of it. A few dozen rows of
supervised fine-tuning with low-rank adapters change how its answers to restricted requests begin and little else, which is the
shallow alignment of Qi et al. (arXiv:2406.05946) that trials then break or deepen. The adapters are merged, so that what the
stage leaves is a model folder like any other, on which trials put adapters of their own.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from raysafe.config.sections import Lora, TrainingSettings
from raysafe.data.batches import cycled
from raysafe.data.chat import ChatFormat
from raysafe.data.references import DataRef, ModelRef
from raysafe.data.tokens import encode_examples
from raysafe.errors import StageError
from raysafe.models.loading import load_model, merged
from raysafe.objectives.sft import Sft
from raysafe.training.engine import Engine, open_engine
from raysafe.training.export import save_checkpoint
from raysafe.training.loop import check_finite
from raysafe.training.schedule import lr_at
from raysafe.training.step import Run, StepPlan, TrainingData, train_step
from raysafe.training.workplace import Workplace

ALIGNMENT = "alignment"
"""What people call the stage."""


@dataclass(frozen=True)
class AlignmentResult:
    """`rows`: that could be used. `dropped`: the reason of every other, by its index."""

    rows: int
    dropped: dict[int, str]


@dataclass(frozen=True)
class AlignmentStage:
    """Supervised fine-tuning of `model` on `rows`: so many steps, by adapters that are merged at the end."""

    kind: ClassVar[str] = "base"
    label: ClassVar[str] = ALIGNMENT
    shared: ClassVar[bool] = True
    Result: ClassVar[type[AlignmentResult]] = AlignmentResult
    model: ModelRef
    rows: DataRef
    lora: Lora
    steps: int
    training: TrainingSettings
    max_length: int
    seed: int

    def run(self, place: Workplace) -> AlignmentResult:
        """Train, merge, save; every rank trains, the first merges. Each step is told."""
        chat = self.model.chat()
        rows, unused = encode_examples(self.rows.examples(), chat, self.max_length)
        if not rows:
            raise StageError(f"{self.rows.path}: no row that aligns the model is usable: {unused[0].reason}.")
        run = Run(Sft(), TrainingData({"retain": rows}, {}), self.training, self.seed)
        load = partial(load_model, self.model.folder, lora=self.lora, seed=self.seed)
        adapter = place.workspace / "adapter"
        with open_engine(place.engines, load, self.training, place.context.device) as engine:
            self._train(engine, run, place)
            engine.export(adapter, chat.tokenizer)
        if place.context.rank == 0:
            save_merged(adapter, chat, place.folder)
        place.context.barrier()
        return AlignmentResult(len(rows), {row.index: row.reason for row in unused})

    def _train(self, engine: Engine, run: Run, place: Workplace) -> None:
        """The steps, each over the next rows of an endless sequence of shuffled passes."""
        size, count = self.training.batch_size, len(run.data.rows["retain"])
        for step in range(self.steps):
            place.context.check_stop()
            engine.set_lr(lr_at(step, self.steps, self.training))
            plan = StepPlan(step, cycled(count, self.seed, ALIGNMENT, step * size, size), [])
            losses, _ = train_step(engine, run, plan, place.context)
            place.context.report(step + 1, {"loss": losses["train/loss"]})
        check_finite(engine, place.context, 0)


def save_merged(adapter: Path, chat: ChatFormat, folder: Path) -> None:
    """The model of an adapter folder as a whole one, with its tokenizer and the template that it was trained with."""
    save_checkpoint(merged(load_model(str(adapter))), chat.tokenizer, folder)
