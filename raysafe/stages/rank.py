"""Ranking as a stage: scores of the fine-tuning rows by a selector."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from raysafe.artifacts import write_json
from raysafe.data.tokens import encode_examples
from raysafe.errors import StageError
from raysafe.ranking.diagnosis import DIAGNOSTICS, diagnose, groups_of
from raysafe.ranking.scoring import SCORERS, Pool, RankInputs
from raysafe.ranking.tables import Ranking
from raysafe.training.workplace import Workplace


@dataclass(frozen=True)
class RankResult:
    """What is said of a ranking: see `Diagnosis`, whose file has all of it."""

    rows: int
    dropped: int
    auc: float | None
    unsafe_share: Mapping[str, float | None]
    planted: int
    planted_recall: Mapping[str, float | None]


@dataclass(frozen=True)
class RankStage(RankInputs):
    """Scores of the fine-tuning rows by a selector: `ranking.parquet`, and how good they are: `diagnostics.json`."""

    kind: ClassVar[str] = "rank"
    label: ClassVar[str] = "rank"
    shared: ClassVar[bool] = True
    Result: ClassVar[type[RankResult]] = RankResult

    def run(self, place: Workplace) -> RankResult:
        """Score, rank and diagnose."""
        rows, chat = self.finetune.ranked(), self.model.chat()
        kept, dropped = encode_examples(rows, chat, self.max_length)
        if not kept:
            raise StageError(f"{self.finetune.path}: no row is usable: {dropped[0].reason}.")
        labels = [None if row.planted else row.unsafe for row in rows]  # planted rows count in no AUC of D's, nor an epoch's
        unsafe_N = None if None in labels else torch.tensor(labels, dtype=torch.bool)
        scores_N, left_out = SCORERS[self.selector.scored_by](self, Pool(rows, kept, unsafe_N, chat), place)
        reasons = {row.index: row.reason for row in dropped} | left_out
        ranking = Ranking.of(rows, scores_N.tolist(), reasons)
        diagnosis = diagnose(ranking, groups_of(rows))
        if place.context.rank == 0:
            ranking.save(place.folder / "ranking.parquet")
            write_json(place.folder / DIAGNOSTICS, diagnosis)
        return RankResult(
            diagnosis.rows,
            sum(diagnosis.dropped.values()),
            diagnosis.auc,
            diagnosis.unsafe_share,
            diagnosis.planted,
            diagnosis.planted_recall,
        )
