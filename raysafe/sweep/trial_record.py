"""What is known of one trial while a sweep runs, and its lines in the summary and the live table."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from raysafe.config.trials import TrialPlan
from raysafe.evaluation.metrics import flat_rates
from raysafe.report.figures import figures_of
from raysafe.report.progress import TrialState
from raysafe.report.summary import TrialRow
from raysafe.sweep.events import TrialStatus
from raysafe.trial import TrialResult

Status = Literal["PENDING", "RUNNING"] | TrialStatus


@dataclass
class TrialRecord:
    """`run`: the tracker's run, `about` what is said of it, `about_tables` of those of its tables that are cut. `jobs`: what the
    trial has asked for, by label; `asked`: the label by job, as several judges have one. `last`: the last row of training.
    `costs`: what it and others have paid for, once it has ended."""

    plan: TrialPlan
    folder: Path
    status: Status = "PENDING"
    run: str = ""
    about: str = ""
    about_tables: str = ""
    stage: str = ""
    step: int = 0
    epoch: int = 0
    started: float = 0.0
    ended: float = 0.0
    jobs: dict[str, str] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    costs: dict[str, Any] = field(default_factory=dict)
    result: TrialResult | None = None
    error: str = ""

    @property
    def last_epoch(self) -> bool:
        """Whether its training has told its last row, so that the final scores are those to come."""
        return self.epoch >= self.plan.config.training.epochs

    @property
    def seconds(self) -> float:
        """Wall time so far."""
        return (self.ended or time.time()) - self.started if self.started else 0.0

    def note(self, step: int, metrics: Mapping[str, float]) -> None:
        """Keep a row of training."""
        self.step, self.last = step, dict(metrics)
        self.epoch = int(metrics.get("epoch", self.epoch))

    def metrics(self) -> dict[str, float]:
        """The final scores, or the last ones after an epoch for a trial that was stopped or still runs."""
        if self.result is not None:
            return flat_rates(self.result.metrics, with_n=True)
        return {name.removeprefix("eval/"): value for name, value in self.last.items() if name.startswith("eval/")}

    def figures(self) -> dict[str, Any]:
        """All that is known of the trial, by name."""
        return figures_of(self.metrics(), self.result, self.record())

    def record(self) -> dict[str, Any]:
        """What the sweep itself knows of it: epochs, seconds."""
        return {"epochs": self.epoch, "wall_s": round(self.seconds, 2), **self.costs}

    def row(self) -> TrialRow:
        """The trial's line of `summary.csv`."""
        return TrialRow(
            trial=self.plan.name,
            status=self.status,
            seed=self.plan.config.seed,
            swept=dict(self.plan.swept),
            figures=self.figures(),
            error=self.error.partition("\n")[0],
            **self.plan.axes,
        )

    def state(self) -> TrialState:
        """The trial's line of the live table."""
        return TrialState(
            name=self.plan.name,
            status=self.status,
            stage=self.stage if self.status == "RUNNING" else "",
            epoch=self.epoch,
            epochs=self.plan.config.training.epochs,
            figures=self.metrics(),
            seconds=self.seconds,
            note=self.error.partition("\n")[0],
        )
