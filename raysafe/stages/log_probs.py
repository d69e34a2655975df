"""Label log-probabilities of a frozen model as a stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from raysafe.config.sections import Batching, Precision
from raysafe.data.references import Alignment, ModelRef
from raysafe.models.frozen import frozen_log_probs, frozen_policy
from raysafe.models.loading import load_model
from raysafe.training.workplace import Workplace


@dataclass(frozen=True)
class LogProbsResult:
    """`rows`: alignment pairs. `dropped`: the reason of every row that can't be used, by its index."""

    rows: int
    dropped: Mapping[int, str]


@dataclass(frozen=True)
class LogProbsStage:
    """Label log-probabilities of a frozen model on the alignment rows: computed once, read by every trial."""

    kind: ClassVar[str] = "log_probs"
    label: ClassVar[str] = "log-probs"
    shared: ClassVar[bool] = True
    Result: ClassVar[type[LogProbsResult]] = LogProbsResult
    model: ModelRef
    alignment: Alignment
    precision: Precision = "float32"
    """That of the policy they are compared with; so is the path, packed or padded."""
    batching: Batching = "auto"

    def run(self, place: Workplace) -> LogProbsResult:
        """One forward pass over all rows, shared out over the workers."""
        chat = self.model.chat()
        pairs, dropped = self.alignment.pairs(chat)
        policy = frozen_policy(partial(load_model, self.model.folder), self.precision, self.batching, place.context)
        tensors: dict[str, Tensor] = {}
        for name in ("safe", "harmful"):
            rows = [getattr(pair, name) for pair in pairs]
            tensors[name] = torch.cat(frozen_log_probs(policy, rows, place.context))
            tensors[f"{name}_counts"] = torch.tensor([row.label_count for row in rows])
        if place.context.rank == 0:
            save_file(tensors, place.folder / "log_probs.safetensors")
        return LogProbsResult(len(pairs), dropped)

    @staticmethod
    def load(folder: str | Path) -> dict[str, Sequence[Tensor]]:
        """Stream to one float32 tensor a row."""
        tensors = load_file(Path(folder) / "log_probs.safetensors")
        return {name: tensors[name].split(tensors[f"{name}_counts"].tolist()) for name in ("safe", "harmful")}
