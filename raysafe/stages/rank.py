"""Ranking as a stage: scores of the fine-tuning rows by a selector."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from raysafe.artifacts import write_json
from raysafe.ranking.diagnosis import DIAGNOSIS_FILE, diagnose, groups_of
from raysafe.ranking.pool import RankInputs, RowPool
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
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class RankStage(RankInputs):
    """Scores of the fine-tuning rows by a selector: `ranking.parquet`, and how good they are: `diagnostics.json`."""

    kind: ClassVar[str] = "rank"
    label: ClassVar[str] = "rank"
    shared: ClassVar[bool] = True
    Result: ClassVar[type[RankResult]] = RankResult

    def run(self, place: Workplace) -> RankResult:
        """Score, rank and diagnose."""
        pool = RowPool.of(self, place)
        scores = self.selector.rank(pool)
        reasons = {row.index: row.reason for row in pool.dropped} | dict(scores.left_out)
        ranking = Ranking.of(pool.rows, scores.scores_N.tolist(), reasons, scores.warnings)
        diagnosis = diagnose(ranking, groups_of(pool.rows))
        if place.context.rank == 0:
            ranking.save(place.folder / "ranking.parquet")
            write_json(place.folder / DIAGNOSIS_FILE, diagnosis)
        return RankResult(
            diagnosis.rows,
            sum(diagnosis.dropped.values()),
            diagnosis.auc,
            diagnosis.unsafe_share,
            diagnosis.planted,
            diagnosis.planted_recall,
            diagnosis.warnings,
        )
