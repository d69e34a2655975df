"""The sandbox's model as a stage."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from raysafe.context import Context
from raysafe.errors import StageStopped
from raysafe.sandbox.world import World


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
