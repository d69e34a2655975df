"""Label log-probabilities of a frozen model as a stage."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from raysafe.context import Context
from raysafe.data.references import Alignment, ModelRef
from raysafe.ranking.scoring import frozen_log_probs, frozen_policy


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
