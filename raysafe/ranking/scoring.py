"""How a ranking gets its scores: one function for each way that a selector can be scored by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from raysafe.config.sections import Lora, TrainingSettings
from raysafe.context import Context
from raysafe.data.chat import ChatFormat
from raysafe.data.records import Example
from raysafe.data.references import DataRef, ModelRef
from raysafe.data.tokens import TokenRow, encode_examples
from raysafe.errors import StageError
from raysafe.models.loading import freeze, load_model
from raysafe.models.log_probs import frozen_label_log_probs
from raysafe.models.policy import Policy
from raysafe.ranking.dsir_library import dsir_scores
from raysafe.ranking.seal_loop import SelectorData, rank_rows
from raysafe.selection import Dsir, Seal, Selector
from raysafe.selection.base import ScoredBy
from raysafe.training.workplace import Workplace

FROZEN_BATCH = 16
"""Rows that a frozen model is run on at once."""


@dataclass(frozen=True)
class RankInputs:
    """What a ranking depends on. `engine`: how SEAL's theta is trained; `model` and `lora`: the model that scores the rows."""

    model: ModelRef
    lora: Lora | None
    selector: Selector
    engine: TrainingSettings | None
    finetune: DataRef
    safe: DataRef | None
    max_length: int
    seed: int


@dataclass(frozen=True)
class Pool:
    """The N rows to rank; `kept` are the K of them that can be trained on, tokenized. unsafe_N: bool labels, or None."""

    rows: Sequence[Example]
    kept: Sequence[TokenRow]
    unsafe_N: Tensor | None
    chat: ChatFormat

    @property
    def places_K(self) -> list[int]:
        """Where the kept rows stand among all."""
        return [row.index for row in self.kept]


Scored = tuple[Tensor, dict[int, str]]
"""A float64 score of each of the N rows, and the reason of every row that the selector leaves out, by row index."""
Scorer = Callable[[RankInputs, Pool, Workplace], Scored]


def by_itself(inputs: RankInputs, pool: Pool, place: Workplace) -> Scored:
    """The selector's own scores."""
    return inputs.selector.scores(len(pool.rows), inputs.seed), {}


def by_training(inputs: RankInputs, pool: Pool, place: Workplace) -> Scored:
    """SEAL: omega after its training on D and D_safe."""
    assert isinstance(inputs.selector, Seal) and inputs.engine is not None and inputs.safe is not None
    safe, _ = encode_examples(inputs.safe.examples(), pool.chat, inputs.max_length)
    if not safe:
        raise StageError(f"{inputs.safe.path}: no row is usable within {inputs.max_length} tokens.")
    data = SelectorData(pool.kept, safe, len(pool.rows), pool.unsafe_N)
    load = partial(load_model, inputs.model.folder, lora=inputs.lora)
    return rank_rows(load, inputs.selector, data, inputs.engine, inputs.seed, place.context, place.workspace / "state"), {}


def by_frozen_loss(inputs: RankInputs, pool: Pool, place: Workplace) -> Scored:
    """Minus the length-normalised NLL of every row under the untrained model."""
    log_probs = frozen_log_probs(frozen_policy(inputs.model, place.context), pool.kept, place.context)
    means_K = torch.tensor([float(row.double().mean()) for row in log_probs], dtype=torch.float64)
    return _over_all(inputs, pool, means_K), {}


def by_texts(inputs: RankInputs, pool: Pool, place: Workplace) -> Scored:
    """DSIR: the texts of D's usable rows against those of D_safe. Every worker counts for itself: it is quick and exact."""
    assert isinstance(inputs.selector, Dsir) and inputs.safe is not None
    rows = [pool.rows[place] for place in pool.places_K]
    scores_K, reasons = dsir_scores(rows, inputs.safe.examples(), inputs.selector, inputs.seed)
    return _over_all(inputs, pool, scores_K), reasons


SCORERS: dict[ScoredBy, Scorer] = {
    "itself": by_itself,
    "training": by_training,
    "frozen loss": by_frozen_loss,
    "texts": by_texts,
}


def _over_all(inputs: RankInputs, pool: Pool, scores_K: Tensor) -> Tensor:
    """Scores of the kept rows put where they belong among all N; the others have what the selector starts from."""
    start_N = inputs.selector.scores(len(pool.rows), inputs.seed)
    return start_N.index_copy(0, torch.tensor(pool.places_K), scores_K)


def frozen_policy(model: ModelRef, context: Context) -> Policy:
    """A model without gradients, ready for token rows."""
    return Policy(freeze(load_model(model.folder)).to(context.device))


def frozen_log_probs(policy: Policy, rows: Sequence[TokenRow], context: Context) -> list[Tensor]:
    """Label log-probabilities of every row, computed by all workers, on all ranks."""
    mine = range(context.rank, len(rows), context.world_size)
    values = frozen_label_log_probs(policy, [rows[place] for place in mine], FROZEN_BATCH)
    parts = context.gather(dict(zip(mine, values, strict=True)))
    whole = {place: value for part in parts for place, value in part.items()}
    return [whole[place] for place in range(len(rows))]
