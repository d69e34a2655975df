"""Training with an objective as a stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from raysafe.artifacts import OFF_KEY
from raysafe.config.sections import Lora, TrainingSettings
from raysafe.context import Context
from raysafe.data.chat import ChatFormat
from raysafe.data.references import Admixture, Alignment, DataRef, LogProbsRef, ModelRef, SelectionRef
from raysafe.data.tokens import TokenRow, encode_examples
from raysafe.errors import NotFiniteError, StageError
from raysafe.models.loading import load_model
from raysafe.objectives import Objective
from raysafe.objectives.base import FrozenModel
from raysafe.ranking.tables import Selection
from raysafe.stages.log_probs import LogProbsStage
from raysafe.stages.verdicts import EpochExam
from raysafe.training.engine import Engine, open_engine
from raysafe.training.loop import train
from raysafe.training.step import Run, TrainingData
from raysafe.training.workplace import Workplace


@dataclass(frozen=True)
class TrainResult:
    """`rows`: trained on, by stream. `dropped`: by stream, the reason of every row without a label left, by its index.
    `batching`: packed or padded, as the model could."""

    rows: Mapping[str, int]
    dropped: Mapping[str, Mapping[int, str]]
    batching: str


@dataclass(frozen=True)
class TrainStage:
    """Train with an objective: a Hugging Face folder. `retain` are the rows of `selection`, or all; behind them the admixed."""

    kind: ClassVar[str] = "train"
    Result: ClassVar[type[TrainResult]] = TrainResult
    model: ModelRef
    lora: Lora | None
    objective: Objective
    training: TrainingSettings
    retain: DataRef
    selection: SelectionRef | None
    """The rows of `retain` that are trained on; None for all."""
    max_length: int
    alignment: Alignment | None
    frozen: Mapping[FrozenModel, LogProbsRef]
    seed: int
    admixture: Admixture | None = None
    each_epoch: EpochExam | None = field(default=None, metadata=OFF_KEY)
    opponent: bool = field(default=False, metadata=OFF_KEY)
    """Whether another trial wants it, to compare its own answers with this model's."""

    @property
    def label(self) -> str:
        return "opponent" if self.opponent else "proxy" if self.shared else "train"

    @property
    def shared(self) -> bool:
        return self.opponent or self.selection is None

    def run(self, place: Workplace) -> TrainResult:
        """Train, score after each epoch where it is wanted, and save."""
        context, folder, workspace = place.context, place.folder, place.workspace
        chat = self.model.chat()
        data, dropped = self._data(chat)
        run = Run(self.objective, data, self.training, self.seed)
        load = partial(load_model, self.model.folder, lora=self.lora, seed=self.seed)
        with open_engine(place.engines, load, self.training, context.device) as engine:
            batching = engine.policy.batching
            try:
                after_epoch = partial(self._after_epoch, chat=chat, context=context)
                train(engine, run, context, after_epoch, workspace / "state")
            except NotFiniteError as error:
                raise NotFiniteError(f"{error} {keep_last_good(engine, chat, workspace)}") from error
            engine.export(folder, chat.tokenizer)
        return TrainResult({name: len(rows) for name, rows in data.rows.items()}, dropped, batching)

    def _after_epoch(self, engine: Engine, epoch: int, chat: ChatFormat, context: Context) -> dict[str, float]:
        if self.each_epoch is None:
            return {}
        with engine.inference() as model:
            return self.each_epoch.scores(model, chat, context)

    def _data(self, chat: ChatFormat) -> tuple[TrainingData, dict[str, dict[int, str]]]:
        examples = self.retain.examples()
        if self.selection is not None:
            examples = Selection.load(Path(self.selection.path)).apply(examples)
        retain, unused = encode_examples(examples, chat, self.max_length)
        if not retain:
            raise StageError(f"{self.retain.path}: none of the {len(examples)} selected rows is usable.")
        dropped = {"retain": {row.index: row.reason for row in unused}}
        if self.admixture is not None:
            admixed, unused = encode_examples(self.admixture.examples(), chat, self.max_length)
            retain, dropped["safeinstr"] = [*retain, *admixed], {row.index: row.reason for row in unused}
        rows: dict[str, Sequence[TokenRow]] = {"retain": retain}
        frozen: dict[str, dict[str, Sequence[Tensor]]] = {}
        if self.alignment is not None:
            pairs, dropped["align"] = self.alignment.pairs(chat)
            stored = {name: LogProbsStage.load(ref.folder) for name, ref in self.frozen.items()}
            for stream in self.objective.alignment:
                rows[stream] = [getattr(pair, stream) for pair in pairs]
                models = self.objective.frozen_models.get(stream, ())
                frozen[stream] = {name: stored[name][stream] for name in models}
        return TrainingData(rows, frozen, padded=self.max_length - 1), dropped  # the released code pads every row to the limit


def keep_last_good(engine: Engine, chat: ChatFormat, workspace: Path) -> str:
    """Save the model as the last whole epoch left it, as a Hugging Face folder; every rank calls it. Says where it is."""
    state, kept = workspace / "state", workspace / "last_good"
    if not (state / "DONE").exists():
        return "No epoch was completed before, so no checkpoint is left."
    epoch = int(engine.load_state(state)["epoch"]) + 1
    engine.export(kept, chat.tokenizer)
    return f"The model after epoch {epoch} is kept in {kept}."
