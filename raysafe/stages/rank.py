"""Ranking as a stage: scores of the fine-tuning rows by a selector."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from raysafe.artifacts import write_json
from raysafe.context import Context
from raysafe.data.tokens import encode_examples
from raysafe.errors import StageError
from raysafe.ranking.diagnosis import DIAGNOSTICS, diagnose, groups_of
from raysafe.ranking.scoring import SCORERS, Pool, RankInputs
from raysafe.ranking.tables import Ranking


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
