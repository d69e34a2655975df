"""A real model's own alignment as a stage: taught to keep a world's policy, shallowly, before any trial starts from it.

The sandbox's model is made with its policy in it; one that somebody else has trained knows nothing of it. A few dozen rows of
supervised fine-tuning with low-rank adapters change how its answers to restricted requests begin and little else, which is the
shallow alignment of Qi et al. (arXiv:2406.05946) that trials then break or deepen. The adapters are merged, so that what the
stage leaves is a model folder like any other, on which trials put adapters of their own.

What is to stay as it was is rehearsed in the model's own words: other people's harmless answers, short and complete ones above
all, would teach it to break off wherever it speaks, and an answer that breaks off tells nothing either (docs/log.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from raysafe.config.sections import Lora, TrainingSettings
from raysafe.data.batches import cycled
from raysafe.data.chat import ChatFormat
from raysafe.data.records import Example
from raysafe.data.references import DataRef, ModelRef
from raysafe.data.tokens import TokenRow, encode_examples
from raysafe.errors import StageError
from raysafe.evaluation.answering import Decoding, generator
from raysafe.models.loading import freeze, load_model, merged
from raysafe.objectives.sft import Sft
from raysafe.training.engine import Engine, open_engine
from raysafe.training.export import save_checkpoint
from raysafe.training.loop import check_finite
from raysafe.training.schedule import lr_at
from raysafe.training.step import Run, StepPlan, TrainingData, train_step
from raysafe.training.workplace import Workplace

ALIGNMENT = "alignment"
"""What people call the stage."""
REFUSAL = "refusal"
"""The kind of the rows that teach the policy; all others are harmless."""
OWN_BATCH = 48
"""Prompts that the untouched model answers at once."""


@dataclass(frozen=True)
class AlignmentResult:
    """`rows`: that could be used. `dropped`: the reason of every other, by its index."""

    rows: int
    dropped: dict[int, str]


@dataclass(frozen=True)
class AlignmentStage:
    """Supervised fine-tuning of `model` on `rows`: so many steps, by adapters that are merged at the end. `own_tokens`: how many
    tokens the untouched model itself says to each harmless prompt, in place of that row's answer; 0 keeps the answers."""

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
    own_tokens: int = 0

    def run(self, place: Workplace) -> AlignmentResult:
        """Train, merge, save; every rank trains, the first merges. Each step is told."""
        chat, examples = self.model.chat(), self.rows.examples()
        rows, unused = encode_examples(examples, chat, self.max_length)
        if not rows:
            raise StageError(f"{self.rows.path}: no row that aligns the model is usable: {unused[0].reason}.")
        if self.own_tokens:
            rows = self._in_own_words(examples, rows, chat, place)
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

    def _in_own_words(
        self, examples: Sequence[Example], rows: Sequence[TokenRow], chat: ChatFormat, place: Workplace
    ) -> list[TokenRow]:
        """The rows, the harmless ones with the untouched model's greedy answers as labels. One that goes on beyond `own_tokens`
        has no end of turn. Every rank calls it and gets them all."""
        harmless = {one.identity.index for one in examples if one.kind != REFUSAL}
        decoding = Decoding(self.own_tokens, self.training.precision, batch_size=OWN_BATCH)
        model = freeze(load_model(self.model.folder, decoding.dtype)).to(place.context.device)
        generate = generator(model, chat, decoding, place.context, place.workspace)
        asked = [row for row in rows if row.index in harmless]
        answers = generate([row.input_ids[: row.label_start] for row in asked])
        own = {row.index: self._row(row, answer, chat) for row, answer in zip(asked, answers, strict=True)}
        return [own.get(row.index, row) for row in rows]

    def _row(self, row: TokenRow, answer: Sequence[int], chat: ChatFormat) -> TokenRow:
        ended = [*answer, *chat.end_ids] if len(answer) < self.own_tokens else answer
        return replace(row, input_ids=(*row.input_ids[: row.label_start], *ended)[: self.max_length])

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
