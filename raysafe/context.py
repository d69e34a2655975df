"""What a stage is handed when it runs: who it is among its workers, and whom to tell."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from raysafe.errors import StageStopped

Report = Callable[[int, dict[str, float]], bool]
"""(step, metrics) of rank 0, out; True comes back if the stage is to stop."""


@dataclass(frozen=True)
class Context:
    """rank 0 alone reports and writes files. `stop_asked` says at any time, on rank 0, whether the stage is to end. `kept`: the
    store's folder for replies that were paid for, which every rank may use and every stage shares; None keeps none."""

    report_row: Report
    device: torch.device
    rank: int = 0
    world_size: int = 1
    stop_asked: Callable[[], bool] = lambda: False
    kept: Path | None = None

    def check_stop(self) -> None:
        """Every rank calls it at every step. Raises StageStopped on all of them if rank 0 was asked to stop."""
        asked = self.rank == 0 and self.stop_asked()
        if self.total([float(asked)])[0]:
            raise StageStopped("stopped between two steps")

    def report(self, step: int, metrics: dict[str, float]) -> None:
        """Tell the progress; every rank calls it equally often. Raises StageStopped on all ranks if it was asked for."""
        stop = [self.report_row(step, metrics)] if self.rank == 0 else [False]
        if self.world_size > 1:
            dist.broadcast_object_list(stop, src=0)
        if stop[0]:
            raise StageStopped(f"stopped at step {step}")

    def total(self, values: list[float]) -> list[float]:
        """Each value summed over the workers, in float64."""
        if self.world_size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return tensor.tolist()

    def gather(self, value: Any) -> list[Any]:
        """The value of every rank, in the order of ranks, on all ranks."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def share(self, tensors: Sequence[torch.Tensor]) -> None:
        """Put rank 0's values into these tensors of all ranks."""
        if self.world_size > 1:
            for tensor in tensors:
                dist.broadcast(tensor.detach(), src=0)

    def barrier(self) -> None:
        """Wait for all ranks."""
        self.gather(None)


def local_context(report_row: Report | None = None) -> Context:
    """A context for one process without workers."""
    return Context(report_row or (lambda step, metrics: False), torch.device("cpu"))
