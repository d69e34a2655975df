"""What a trial is and what a sweep is: frozen, and checked before they exist."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from raysafe.config.sections import (
    SANDBOX,
    DataSettings,
    EvaluationSettings,
    ModelSettings,
    Resources,
    SchedulerSettings,
    SelectionSettings,
    TrackingSettings,
    TrainingSettings,
)
from raysafe.objectives import Objective
from raysafe.sandbox.world import World
from raysafe.selection import Selector


@dataclass(frozen=True)
class TrialConfig:
    """One trial: rank the rows, keep the top p %, train, attack and score."""

    model: ModelSettings
    data: DataSettings
    sandbox: World
    selector: Selector
    selection: SelectionSettings
    objective: Objective
    training: TrainingSettings
    proxy: TrainingSettings
    """How W-DOOR's proxy pi_dpo is trained: objective dpo, retain term on `data.safe`."""
    evaluation: EvaluationSettings
    seed: int

    @property
    def percent(self) -> float:
        """The kept share of D in %."""
        if self.selection.percent is not None:
            return self.selection.percent
        return 100.0 if self.selector.keeps_all else 80.0

    @property
    def needed_models(self) -> set[str]:
        """Frozen models that the objective asks for."""
        return {name for names in self.objective.frozen_models.values() for name in names}

    @property
    def sandboxed(self) -> bool:
        """Whether it reads no data but the sandbox's."""
        data, evaluation = self.data, self.evaluation
        named = (data.finetune, data.safe, data.align, data.align_harmful, self.selection.file)
        prompts = (evaluation.harmful, evaluation.borderline, evaluation.utility, evaluation.new_tasks)
        return {*named, *prompts} <= {SANDBOX, None}


@dataclass(frozen=True)
class TrialPlan:
    """A trial of a sweep: its name, its configuration, and what the sweep set in it (dotted keys)."""

    name: str
    config: TrialConfig
    swept: Mapping[str, Any]


@dataclass(frozen=True)
class SweepConfig:
    """A checked sweep. `resolved` is the plain form, as the file and `--set` give it; `written`: what a file says of its
    making that raysafe has written itself (`written.py`)."""

    name: str
    question: str
    trials: tuple[TrialPlan, ...]
    scheduler: SchedulerSettings
    resources: Resources
    resolved: Mapping[str, Any]
    written: Mapping[str, Any] = field(default_factory=dict)
    tracking: TrackingSettings = TrackingSettings()

    @property
    def logs_text(self) -> bool:
        """Whether texts of rows and answers go into the record: as `tracking.log_text` says, or if all are the sandbox's."""
        if self.tracking.log_text is not None:
            return self.tracking.log_text
        return all(plan.config.sandboxed for plan in self.trials)
