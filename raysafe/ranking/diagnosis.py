"""What is told of every ranking: scores by source and label, AUC, unsafe share at p, recall of planted rows, what was dropped."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from raysafe.data.records import Example
from raysafe.ranking.tables import Ranking
from raysafe.selection import top_percent
from raysafe.selection.measures import Distribution, auc, distribution, planted_recall, unsafe_share

DIAGNOSIS_FILE = "diagnostics.json"
PERCENTS: tuple[float, ...] = (10, 20, 30, 40, 50, 60, 70, 80, 90)
MOST_GROUPS = 20
"""Sources or kinds that are told one by one, the largest first; the rest are told together."""
REST = "(all others)"
_ROW_LABELS = {True: "unsafe", False: "safe", None: "unlabelled"}
Grouping = Mapping[str, Sequence[str]]
"""What rows are grouped by (`source`, ...) to the group of every row."""


@dataclass(frozen=True)
class RankingTensors:
    """A ranking as tensors of all rows, the planted ones too. `usable_N`: not dropped, bool. `unsafe_N`: labels, bool, or None
    where one of D's own rows has none."""

    fingerprint: str
    scores_N: Tensor
    usable_N: Tensor
    planted_N: Tensor
    unsafe_N: Tensor | None

    @classmethod
    def of(cls, ranking: Ranking) -> "RankingTensors":
        """The tensors of a ranking."""
        planted_N = torch.tensor(ranking.planted, dtype=torch.bool)
        known = all(label is not None for label, planted in zip(ranking.unsafe, ranking.planted, strict=True) if not planted)
        usable_N = torch.tensor([not reason for reason in ranking.reasons], dtype=torch.bool)
        labels_N = torch.tensor([bool(label) for label in ranking.unsafe], dtype=torch.bool) if known else None
        return cls(ranking.fingerprint, torch.tensor(ranking.scores, dtype=torch.float64), usable_N, planted_N, labels_N)

    @property
    def own_N(self) -> Tensor:
        """D's own usable rows."""
        return self.usable_N & ~self.planted_N

    def kept_N(self, percent: float) -> Tensor:
        """The top p % of D's own rows, as `keep_top` keeps them; shape of all rows, bool."""
        d_N = ~self.planted_N
        kept_N = torch.zeros_like(d_N)
        kept_N[d_N] = top_percent(self.scores_N[d_N], percent, self.usable_N[d_N])
        return kept_N

    def auc(self) -> float | None:
        """Of D's own rows."""
        return None if self.unsafe_N is None else auc(self.scores_N[self.own_N], self.unsafe_N[self.own_N])

    def unsafe_share(self, percent: float) -> float | None:
        """Among D's own rows that are kept at p %."""
        return None if self.unsafe_N is None else unsafe_share(self.kept_N(percent), self.unsafe_N)

    def planted_recall(self, percent: float) -> float | None:
        """Share of the planted rows outside the top p % of all rows."""
        return planted_recall(self.scores_N, self.planted_N, self.usable_N, percent)


@dataclass(frozen=True)
class Diagnosis:
    """`diagnostics.json`. Shares and rates lie in [0, 1] and are None where they are not defined; keys are p in %."""

    fingerprint: str
    rows: int
    """D's own rows, dropped ones too."""
    dropped: Mapping[str, int]
    """D's own rows that can't be used, by reason, numbers in it as N."""
    unsafe_rows: int | None
    auc: float | None
    unsafe_share: Mapping[str, float | None]
    """Among the rows of D that are kept at p."""
    planted: int
    planted_dropped: int
    planted_recall: Mapping[str, float | None]
    """Share of the planted rows outside the top p % of all rows: 1 is best. Empty without planted rows."""
    scores: Mapping[str, Mapping[str, Distribution | None]] = field(default_factory=dict)
    """Distributions by what rows are grouped by, then by group."""
    warnings: tuple[str, ...] = ()
    """What whoever uses the ranking must know."""

    @classmethod
    def load(cls, path: Path) -> "Diagnosis":
        """Of a file that a rank stage wrote."""
        raw = json.loads(path.read_text(encoding="utf-8"))
        scores = {by: {name: _read(one) for name, one in groups.items()} for by, groups in raw["scores"].items()}
        return cls(**{**raw, "scores": scores, "warnings": tuple(raw.get("warnings", ()))})

    def metrics(self) -> dict[str, float]:
        """What is known of it, as a tracker names it."""
        named = {"selector/auc": self.auc}
        named |= {f"selector/unsafe_share_{percent}": value for percent, value in self.unsafe_share.items()}
        named |= {f"selector/planted_recall_{percent}": value for percent, value in self.planted_recall.items()}
        return {name: value for name, value in named.items() if value is not None}


def _read(raw: Mapping[str, float] | None) -> Distribution | None:
    return None if raw is None else Distribution(**raw)  # type: ignore[arg-type]  # its count is a whole number in the file


def diagnose(ranking: Ranking, groups: Grouping | None = None, percents: Sequence[float] = PERCENTS) -> Diagnosis:
    """Everything that is told of one ranking; `groups` beside the labels, which it groups by anyhow."""
    tensors = RankingTensors.of(ranking)
    own = [reason for reason, planted in zip(ranking.reasons, ranking.planted, strict=True) if not planted]
    planted = int(tensors.planted_N.sum())
    labels_known = tensors.unsafe_N is not None
    return Diagnosis(
        fingerprint=ranking.fingerprint,
        rows=len(own),
        dropped=dict(Counter(re.sub(r"\d+", "N", reason) for reason in own if reason)),
        unsafe_rows=int((tensors.unsafe_N & ~tensors.planted_N).sum()) if tensors.unsafe_N is not None else None,
        auc=tensors.auc(),
        unsafe_share=at(percents, tensors.unsafe_share) if labels_known else {},
        planted=planted,
        planted_dropped=int((tensors.planted_N & ~tensors.usable_N).sum()),
        planted_recall=at(percents, tensors.planted_recall) if planted else {},
        scores={name: _by_group(tensors, group) for name, group in {"label": labels_of(ranking), **(groups or {})}.items()},
        warnings=ranking.warnings,
    )


def at(percents: Sequence[float], value: Callable[[float], float | None]) -> dict[str, float | None]:
    """p in %, as text, to the value there."""
    return {f"{percent:g}": value(percent) for percent in percents}


def labels_of(ranking: Ranking) -> list[str]:
    """`safe`, `unsafe`, `unlabelled` or `planted` of every row."""
    pairs = zip(ranking.unsafe, ranking.planted, strict=True)
    return ["planted" if planted else _ROW_LABELS[label] for label, planted in pairs]


def groups_of(rows: Sequence[Example]) -> dict[str, list[str]]:
    """Source of every row (its file, and its own `source` field where it has one), and kind where a row has one."""
    groups = {"source": [source_of(row) for row in rows]}
    if any(row.kind for row in rows):
        groups["kind"] = ["planted" if row.planted else row.kind or "(none)" for row in rows]
    return groups


def source_of(row: Example) -> str:
    """The file that a row came from, and the row's own `source` field where it has one."""
    file = Path(row.identity.source).name
    return f"{file}: {row.origin}" if row.origin else file


def _by_group(tensors: RankingTensors, group: Sequence[str]) -> dict[str, Distribution | None]:
    names = [name for name, _ in Counter(group).most_common()]
    kept = names if len(names) <= MOST_GROUPS else names[: MOST_GROUPS - 1]
    places: dict[str, list[int]] = {name: [] for name in [*kept, *([REST] if kept != names else [])]}
    for place, name in enumerate(group):
        places[name if name in places else REST].append(place)
    return {name: distribution(tensors.scores_N[rows][tensors.usable_N[rows]]) for name, rows in places.items()}
