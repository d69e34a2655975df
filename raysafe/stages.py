"""The stages of a trial: each a frozen class that says what it depends on, and a `run` that makes its files.

A stage's key is the fingerprint of its fields; fields that only say where something lies are off the key. Every worker of
a group calls `run`; rank 0 alone writes into `folder`, `workspace` keeps what a second attempt can go on from.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from raysafe.artifacts import OFF_KEY, write_json
from raysafe.data.chat import ChatFormat
from raysafe.data.diagnosis import DIAGNOSTICS, diagnose, groups_of
from raysafe.data.manifest import Ranking, Selection
from raysafe.data.records import EvalPrompt
from raysafe.data.tokens import TokenRow, encode_examples
from raysafe.errors import NotFiniteError, StageError, StageStopped
from raysafe.evaluation import ATTACKS, JUDGES
from raysafe.evaluation.generating import generator
from raysafe.evaluation.score import Answer, Scores, evaluate
from raysafe.models.loading import freeze, load_model
from raysafe.objectives import Objective
from raysafe.refs import Admixture, Alignment, DataRef, ModelRef
from raysafe.sandbox.world import World
from raysafe.scoring import SCORERS, Pool, RankInputs, frozen_log_probs, frozen_policy
from raysafe.settings import EvaluationSettings, Lora, TrainingSettings
from raysafe.training.checkpoints import plain_model, save_checkpoint, update
from raysafe.training.context import Context
from raysafe.training.engine import Engine
from raysafe.training.loop import train
from raysafe.training.step import TrainingData


class Stage(Protocol):
    """What a worker group runs. `run` returns what the manifest says of the result.

    `label` is what people call it; `shared` tells stages that several trials read from a trial's own.
    """

    kind: ClassVar[str]

    @property
    def label(self) -> str: ...

    @property
    def shared(self) -> bool: ...

    def run(self, context: Context, folder: Path, workspace: Path) -> dict[str, Any]: ...


@dataclass(frozen=True)
class BaseStage:
    """The sandbox's model: trained on everything, then shallowly aligned."""

    kind: ClassVar[str] = "base"
    label: ClassVar[str] = "base"
    shared: ClassVar[bool] = True
    world: World

    def run(self, context: Context, folder: Path, workspace: Path) -> dict[str, Any]:
        from raysafe.sandbox.model import train_base  # transformers' models take seconds to import: not for a trial's driver

        if context.rank == 0:

            def report(step: int, metrics: dict[str, float]) -> None:
                if context.report_row(step, metrics) or context.stop_asked():
                    raise StageStopped(f"stopped at step {step}")

            train_base(self.world, folder, report)
        context.barrier()
        return {}


@dataclass(frozen=True)
class RankStage(RankInputs):
    """Scores of the fine-tuning rows by a selector: `ranking.parquet`, and how good they are: `diagnostics.json`."""

    kind: ClassVar[str] = "rank"
    label: ClassVar[str] = "rank"
    shared: ClassVar[bool] = True

    def run(self, context: Context, folder: Path, workspace: Path) -> dict[str, Any]:
        rows, chat = self.finetune.ranked(), self.model.chat()
        kept, dropped = encode_examples(rows, chat, self.max_length)
        if not kept:
            raise StageError(f"{self.finetune.path}: no row is usable: {dropped[0].reason}.")
        labels = [None if row.planted else row.unsafe for row in rows]  # planted rows count in no AUC of D's, nor an epoch's
        unsafe_N = None if None in labels else torch.tensor(labels, dtype=torch.bool)
        scores_N, left_out = SCORERS[self.selector.scored_by](self, Pool(rows, kept, unsafe_N, chat), context, workspace)
        reasons = {row.index: row.reason for row in dropped} | left_out
        ranking = Ranking.of(rows, scores_N.tolist(), reasons)
        diagnosis = diagnose(ranking, groups_of(rows))
        if context.rank == 0:
            ranking.save(folder / "ranking.parquet")
            write_json(folder / DIAGNOSTICS, diagnosis)
        return diagnosis.main()


@dataclass(frozen=True)
class LogProbsStage:
    """Label log-probabilities of a frozen model on the alignment rows: computed once, read by every trial."""

    kind: ClassVar[str] = "log_probs"
    label: ClassVar[str] = "log-probs"
    shared: ClassVar[bool] = True
    model: ModelRef
    alignment: Alignment

    def run(self, context: Context, folder: Path, workspace: Path) -> dict[str, Any]:
        chat = self.model.chat()
        pairs, dropped = self.alignment.pairs(chat)
        policy = frozen_policy(self.model, context)
        tensors: dict[str, Tensor] = {}
        for name in ("safe", "harmful"):
            rows = [getattr(pair, name) for pair in pairs]
            tensors[name] = torch.cat(frozen_log_probs(policy, rows, context))
            tensors[f"{name}_counts"] = torch.tensor([row.label_count for row in rows])
        if context.rank == 0:
            save_file(tensors, folder / "log_probs.safetensors")
        return {"rows": len(pairs), "dropped": dropped}

    @staticmethod
    def load(folder: str | Path) -> dict[str, Sequence[Tensor]]:
        """Stream to one float32 tensor a row."""
        tensors = load_file(Path(folder) / "log_probs.safetensors")
        return {name: tensors[name].split(tensors[f"{name}_counts"].tolist()) for name in ("safe", "harmful")}


@dataclass(frozen=True)
class EvaluationPlan:
    """What a model is scored on and how."""

    settings: EvaluationSettings
    suites: Mapping[str, DataRef]
    reference: ModelRef | None = None
    reference_folder: str | None = field(default=None, metadata=OFF_KEY)

    def scores(self, model: Any, chat: ChatFormat, context: Context, limit: int | None) -> Scores:
        """Attack and score; at most `limit` prompts of each suite."""
        suites: dict[Any, list[EvalPrompt]] = {name: data.prompts()[:limit] for name, data in self.suites.items()}
        attacks = [ATTACKS[name](**_tuples(fields)) for name, fields in self.settings.attacks.items()]
        reference = load_answers(self.reference_folder) if self.reference_folder else None
        generate = generator(model, chat, self.settings, context)
        return evaluate(generate, chat, suites, attacks, JUDGES[self.settings.judge](), reference)


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


@lru_cache(maxsize=4)
def load_answers(folder: str) -> tuple[Answer, ...]:
    """The answers that an EvaluateStage wrote."""
    return tuple(Answer(**row) for row in json.loads((Path(folder) / "answers.json").read_text(encoding="utf-8")))


@dataclass(frozen=True)
class EvaluateStage:
    """Attack and score a checkpoint: `scores.json`, `answers.json`."""

    kind: ClassVar[str] = "evaluate"
    model: ModelRef
    plan: EvaluationPlan

    @property
    def label(self) -> str:
        return "reference" if self.shared else "evaluate"

    @property
    def shared(self) -> bool:
        return self.plan.reference is None

    def run(self, context: Context, folder: Path, workspace: Path) -> dict[str, Any]:
        model = freeze(load_model(self.model.folder)).to(context.device)
        scores = self.plan.scores(model, self.model.chat(), context, self.plan.settings.max_prompts)
        if context.rank == 0:
            write_json(folder / "scores.json", scores.plain())
            write_json(folder / "answers.json", [asdict(answer) for answer in scores.answers])
        context.report(1, {f"eval/{name}": value for name, value in scores.flat().items()})
        return {"metrics": scores.plain(), "judge": self.plan.settings.judge}


@dataclass(frozen=True)
class TrainStage:
    """Train with an objective: a Hugging Face folder. `retain` are the rows of `selection`, or all; behind them the admixed."""

    kind: ClassVar[str] = "train"
    model: ModelRef
    lora: Lora | None
    objective: Objective
    training: TrainingSettings
    retain: DataRef
    selected: str | None
    """Fingerprint of the selected row indices; None for all rows."""
    max_length: int
    alignment: Alignment | None
    frozen_keys: Mapping[str, str]
    seed: int
    admixture: Admixture | None = None
    selection_path: str | None = field(default=None, metadata=OFF_KEY)
    frozen_folders: Mapping[str, str] = field(default_factory=dict, metadata=OFF_KEY)
    each_epoch: EvaluationPlan | None = field(default=None, metadata=OFF_KEY)

    @property
    def label(self) -> str:
        return "proxy" if self.shared else "train"

    @property
    def shared(self) -> bool:
        return self.selected is None

    def run(self, context: Context, folder: Path, workspace: Path) -> dict[str, Any]:
        chat = self.model.chat()
        data, dropped = self._data(chat)
        copy = _Copy(self.model.folder, self.lora, context)
        engine = context.make_engine(load_model(self.model.folder, lora=self.lora), self.training, context.device)
        batching = engine.policy.batching

        def after_epoch(engine: Engine, epoch: int) -> dict[str, float]:
            return self._after_epoch(copy, engine, chat, context)

        try:
            train(engine, self.objective, data, self.training, self.seed, context, after_epoch, workspace / "state")
        except NotFiniteError as error:
            raise NotFiniteError(f"{error} {keep_last_good(engine, copy, chat, context, workspace)}") from error
        model = copy.refreshed(engine)
        engine.close()
        if context.rank == 0:
            save_checkpoint(model, chat.tokenizer, folder)
        return {"rows": {name: len(rows) for name, rows in data.rows.items()}, "dropped": dropped, "batching": batching}

    def _after_epoch(self, copy: "_Copy", engine: Engine, chat: ChatFormat, context: Context) -> dict[str, float]:
        if self.each_epoch is None:
            return {}
        settings = self.each_epoch.settings
        limits = [limit for limit in (settings.epoch_prompts, settings.max_prompts) if limit is not None]
        scores = self.each_epoch.scores(copy.refreshed(engine), chat, context, min(limits, default=None))
        return {f"eval/{name}": value for name, value in scores.flat().items()}

    def _data(self, chat: ChatFormat) -> tuple[TrainingData, dict[str, dict[int, str]]]:
        examples = self.retain.examples()
        if self.selection_path is not None:
            examples = Selection.load(Path(self.selection_path)).apply(examples)
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
            stored = {name: LogProbsStage.load(folder) for name, folder in self.frozen_folders.items()}
            for stream in self.objective.alignment:
                rows[stream] = [getattr(pair, stream) for pair in pairs]
                models = self.objective.frozen_models.get(stream, ())
                frozen[stream] = {name: stored[name][stream] for name in models}
        return TrainingData(rows, frozen, padded=self.max_length - 1), dropped  # the released code pads every row to the limit


def keep_last_good(engine: Engine, copy: "_Copy", chat: ChatFormat, context: Context, workspace: Path) -> str:
    """Save the model as the last whole epoch left it, as a Hugging Face folder; every rank calls it. Says where it is."""
    state, kept = workspace / "state", workspace / "last_good"
    if not (state / "DONE").exists():
        return "No epoch was completed before, so no checkpoint is left."
    epoch = int(engine.load_state(state)["epoch"]) + 1
    model = copy.refreshed(engine)
    if context.rank == 0:
        save_checkpoint(model, chat.tokenizer, kept)
    return f"The model after epoch {epoch} is kept in {kept}."


class _Copy:
    """A plain copy of the model being trained, for evaluation and saving; loaded on first use."""

    def __init__(self, path: str, lora: Lora | None, context: Context) -> None:
        self.path, self.lora, self.context = path, lora, context
        self.model: Any = None

    def refreshed(self, engine: Engine) -> Any:
        state = engine.full_state()
        if self.model is None:
            self.model = plain_model(self.path, self.lora, state).to(self.context.device)
        else:
            update(self.model, state)
        return self.model
