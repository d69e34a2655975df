"""What a ranking depends on, and the rows to rank as a selector is given them (`selection.base.Pool`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from raysafe.config.sections import Lora, TrainingSettings
from raysafe.data.chat import ChatFormat
from raysafe.data.records import Example
from raysafe.data.references import DataRef, ModelRef
from raysafe.data.tokens import Dropped, TokenRow, encode_examples
from raysafe.errors import StageError
from raysafe.models.frozen import frozen_log_probs, frozen_policy
from raysafe.models.loading import load_model
from raysafe.ranking.learning import SelectorData, SelectorRun, learned_state, open_learners
from raysafe.selection.base import Learned, RowScores, Selector
from raysafe.training.workplace import Workplace


@dataclass(frozen=True)
class RankInputs:
    """What a ranking depends on. `engine`: how the models of a selector that trains are trained, None for the others; `model` and
    `lora`: the model that scores the rows."""

    model: ModelRef
    lora: Lora | None
    selector: Selector
    engine: TrainingSettings | None
    finetune: DataRef
    safe: DataRef | None
    max_length: int
    seed: int


@dataclass(frozen=True)
class RowPool:
    """The N rows of `inputs.finetune`; `kept` are the K of them that can be trained on, tokenized, `dropped` the others.

    place: where the stage works.
    """

    inputs: RankInputs
    rows: Sequence[Example]
    kept: Sequence[TokenRow]
    dropped: Sequence[Dropped]
    chat: ChatFormat
    place: Workplace

    @classmethod
    def of(cls, inputs: RankInputs, place: Workplace) -> "RowPool":
        """Read and tokenize the rows. Raises StageError if none is usable."""
        rows, chat = inputs.finetune.ranked(), inputs.model.chat()
        kept, dropped = encode_examples(rows, chat, inputs.max_length)
        if not kept:
            raise StageError(f"{inputs.finetune.path}: no row is usable: {dropped[0].reason}.")
        return cls(inputs, rows, kept, dropped, chat, place)

    @property
    def size(self) -> int:
        return len(self.rows)

    @property
    def places_K(self) -> Tensor:
        return torch.tensor([row.index for row in self.kept])

    @property
    def seed(self) -> int:
        return self.inputs.seed

    def texts(self) -> list[str]:
        return [counted_text(self.rows[row.index]) for row in self.kept]

    def safe_texts(self) -> list[str]:
        return [counted_text(row) for row in self._safe.examples()]

    def frozen_losses(self) -> Tensor:
        policy = frozen_policy(partial(load_model, self.inputs.model.folder), "float32", "auto", self.place.context)
        log_probs = frozen_log_probs(policy, self.kept, self.place.context)
        return torch.tensor([-float(row.double().mean()) for row in log_probs], dtype=torch.float64)

    def learn(self, selector: Learned) -> RowScores:
        assert self.inputs.engine is not None  # of every selector that trains
        safe, _ = encode_examples(self._safe.examples(), self.chat, self.inputs.max_length)
        if not safe:
            raise StageError(f"{self._safe.path}: no row is usable within {self.inputs.max_length} tokens.")
        run = SelectorRun(selector, SelectorData(self.kept, safe, self.size, self._labels()), self.seed)
        load = partial(load_model, self.inputs.model.folder, lora=self.inputs.lora, seed=self.seed)
        context, folder = self.place.context, self.place.workspace / "state"
        with open_learners(selector, self.place.engines, load, self.inputs.engine, context.device) as learners:
            state = learned_state(learners, run, context, folder)
        scores = RowScores.of(self, selector.scores_of(state))
        return RowScores(scores.scores_N, warnings=weight_warnings(selector.weights_of(state)))

    @property
    def _safe(self) -> DataRef:
        assert self.inputs.safe is not None  # checked with the configuration, for selectors that read it
        return self.inputs.safe

    def _labels(self) -> Tensor | None:
        """Planted rows count in no AUC of D's, nor an epoch's."""
        labels = [None if row.planted else row.unsafe for row in self.rows]
        return None if None in labels else torch.tensor(labels, dtype=torch.bool)


def counted_text(row: Example) -> str:
    """Its turns and its answer, a line each."""
    return "\n".join([*(turn.content for turn in row.prompt), row.response])


def weight_warnings(weights_K: Tensor) -> tuple[str, ...]:
    """What is to be said of learned weights that end within 1 % of each other, or of one that ends with more than half of all."""
    least, greatest = float(weights_K.min()), float(weights_K.max())
    step = "step size of the weights (`selector.lr`, docs/methods.md)"
    if len(weights_K) > 1 and greatest <= 1.01 * least:
        return (
            f"the selector's row weights end within 1 % of each other ({least:.4f} to {greatest:.4f}): its model was trained as "
            f"if all rows weighed the same, so that nothing learned of a row came back to it; take a larger {step}.",
        )
    if len(weights_K) > 2 and greatest > 0.5 * float(weights_K.sum()):
        return (f"one row ends with more than half of all weight: the ranking ran away; take a smaller {step} or fewer epochs.",)
    return ()
