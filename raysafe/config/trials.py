"""What a trial is and what a sweep is: frozen, and checked before they exist."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from raysafe.artifacts import KEYED_IF_SET
from raysafe.config.sections import (
    SANDBOX,
    TRICKS,
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
from raysafe.sandbox.settings import World
from raysafe.selection import Selector
from raysafe.tricks.settings import Tricks


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
    """Of the training: order of rows, start of adapters, dropout, prefixes."""
    ranking_seed: int | None = field(default=None, metadata=KEYED_IF_SET)
    """Of ranking and selection, where it has a seed of its own (`seeds.ranking`)."""
    tricks: Tricks = field(default_factory=Tricks, metadata=KEYED_IF_SET)
    """The world of magic tricks; as it is by itself where it is not read."""

    @property
    def ranks_by(self) -> int:
        """The seed of what is ranked and selected: the selector's, the planted rows', SafeInstr's."""
        return self.seed if self.ranking_seed is None else self.ranking_seed

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
    def ours(self) -> bool:
        """Whether it reads no texts but those of the worlds, which are our own and harmless."""
        return {*self._data, self.selection.file, self.tricks.answers} <= {SANDBOX, TRICKS, None}

    @property
    def worlds(self) -> dict[str, World | Tricks]:
        """The worlds that it reads rows or a model of, by the names of their sections."""
        every: dict[str, World | Tricks] = {SANDBOX: self.sandbox, TRICKS: self.tricks}
        return {name: world for name, world in every.items() if name in (self.model.path, self.model.align, *self._data)}

    @property
    def _data(self) -> tuple[str | None, ...]:
        data, evaluation = self.data, self.evaluation
        prompts = (evaluation.harmful, evaluation.borderline, evaluation.utility, evaluation.new_tasks)
        return data.finetune, data.safe, data.align, data.align_harmful, *prompts


@dataclass(frozen=True)
class TrialPlan:
    """A trial of a sweep: its name, its configuration, and what the sweep set in it (dotted keys)."""

    name: str
    config: TrialConfig
    swept: Mapping[str, Any]

    @property
    def axes(self) -> dict[str, int]:
        """Seeds beside that of the training, where a sweep has them as axes of their own: `seed_world` (of a trial that reads a
        world, and unless the sweep sets it as a setting), `seed_ranking`."""
        if self.config.ranking_seed is None:
            return {}
        drawn = [world.seed for name, world in self.config.worlds.items() if f"{name}.seed" not in self.swept]
        return ({"seed_world": drawn[0]} if drawn else {}) | {"seed_ranking": self.config.ranking_seed}


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
        """Whether texts of rows and answers go into the record: as `tracking.log_text` says, or if all are the worlds'."""
        if self.tracking.log_text is not None:
            return self.tracking.log_text
        return all(plan.config.ours for plan in self.trials)
