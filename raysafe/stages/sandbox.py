"""The sandbox's model as a stage."""

from dataclasses import dataclass
from typing import ClassVar

from raysafe.errors import StageStopped
from raysafe.sandbox.settings import World
from raysafe.stages.base import Nothing
from raysafe.training.workplace import Workplace


@dataclass(frozen=True)
class BaseStage:
    """The sandbox's model: trained on everything, then shallowly aligned."""

    kind: ClassVar[str] = "base"
    label: ClassVar[str] = "base"
    shared: ClassVar[bool] = True
    Result: ClassVar[type[Nothing]] = Nothing
    world: World

    def run(self, place: Workplace) -> Nothing:
        """Rank 0 trains it; one CPU thread is enough."""
        from raysafe.sandbox.model import train_base  # transformers' models take seconds to import: not for a trial's driver

        context = place.context
        if context.rank == 0:

            def report(step: int, metrics: dict[str, float]) -> None:
                if context.report_row(step, metrics) or context.stop_asked():
                    raise StageStopped(f"stopped at step {step}")

            train_base(self.world, place.folder, report)
        context.barrier()
        return Nothing()
