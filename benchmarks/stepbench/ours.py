"""Our step, as the training stages run it. What the benchmarks know of the training code is in this file alone."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import Tensor

from raysafe.context import local_context
from raysafe.data.tokens import TokenRow
from raysafe.models.loading import freeze
from raysafe.models.log_probs import frozen_label_log_probs
from raysafe.models.policy import Policy
from raysafe.objectives import Objective
from raysafe.objectives.dpo import Dpo
from raysafe.ranking.learning import Learners, SelectorData, SelectorRun, SelectorStep, engine_settings, selector_step
from raysafe.training.engine import PlainEngine
from raysafe.training.step import Run, StepPlan, TrainingData, train_step
from stepbench.methods import POLICY_SEED, SEAL, SEEDS, SETTINGS, Method
from stepbench.rows import FIRST_WORD, Workload
from stepbench.shapes import Shape, random_model


def make_engine(model: Any, settings: Any = SETTINGS) -> PlainEngine:
    """A model as the training loops are given it."""
    return PlainEngine(lambda: model, settings)


def run_step(engine: PlainEngine, objective: Objective, data: TrainingData, plan: StepPlan) -> float:
    """One training step of as many rows a stream as the plan's retain rows; returns its loss."""
    run = Run(objective, data, replace(SETTINGS, batch_size=len(plan.retain)))
    losses, _ = train_step(engine, run, plan, local_context())
    return losses["train/loss"]


def frozen_log_probs(
    shape: Shape, rows: Mapping[str, Sequence[TokenRow]], needed: Mapping[Any, Sequence[str]]
) -> dict[str, dict[str, list[Tensor]]]:
    """What a run computes once: `result[stream][model]`, label log-probabilities of every row under a frozen model."""
    result: dict[str, dict[str, list[Tensor]]] = {name: {} for name in rows}
    for model_name in sorted({name for names in needed.values() for name in names}):
        policy = Policy(freeze(random_model(shape, SEEDS[model_name])))
        for stream, names in needed.items():
            if model_name in names:
                result[stream][model_name] = frozen_label_log_probs(policy, rows[stream], 4)
    return result


class OurStep:
    """One of the objectives. `cache_s`: CPU seconds that the frozen log-probabilities of all rows took, once."""

    streams = ("retain", "safe", "harmful")
    counted = streams

    def __init__(self, method: Method, shape: Shape, work: Workload) -> None:
        assert method.objective is not None
        self.objective: Objective = method.objective
        rows: dict[str, Sequence[TokenRow]] = {name: getattr(work, name) for name in self.streams}
        self._start(shape, work, rows)

    def _start(self, shape: Shape, work: Workload, rows: dict[str, Sequence[TokenRow]]) -> None:
        started = time.process_time()
        frozen = frozen_log_probs(shape, rows, self.objective.frozen_models)
        self.cache_s = time.process_time() - started
        self.work, self.data = work, TrainingData(rows, frozen)
        self.engine = make_engine(random_model(shape, POLICY_SEED))

    def step(self, number: int) -> float:
        """Train on the rows of step `number`; returns the loss."""
        size = SETTINGS.batch_size
        plan = StepPlan(number, self.work.places("retain", number, size), self.work.places("safe", number, size))
        return run_step(self.engine, self.objective, self.data, plan)


@dataclass(frozen=True)
class DpoAlone(Dpo):
    """DPO with the whole weight on its alignment term."""

    alpha: float = 1.0
    name: ClassVar[str] = "dpo"


class OurDpoAlone(OurStep):
    """DPO as trainers for preferences compute it: alpha is 1, and the retain rows hold one label of weight 0 each."""

    counted = ("safe", "harmful")

    def __init__(self, method: Method, shape: Shape, work: Workload) -> None:
        self.objective = DpoAlone(beta=method.objective.beta)  # type: ignore[union-attr]
        nothing = tuple(TokenRow(index, (FIRST_WORD, FIRST_WORD), 1) for index in range(len(work.retain)))
        work = replace(work, retain=nothing)
        self._start(shape, work, {name: getattr(work, name) for name in self.streams})


class OurSeal:
    """SEAL's memory-efficient step."""

    cache_s = 0.0
    counted = ("finetune", "trusted")

    def __init__(self, method: Method, shape: Shape, work: Workload) -> None:
        self.work = work
        self.run = SelectorRun(SEAL, SelectorData(work.finetune, work.trusted, len(work.finetune), None), 0)
        self.state = SEAL.start(len(work.finetune), seed=0)
        self.learners = Learners({"theta": make_engine(random_model(shape, POLICY_SEED), engine_settings(SEAL, SETTINGS))})

    def step(self, number: int) -> float:
        """Train on the rows of step `number`; returns (1 - gamma) mean loss of the safe rows + gamma mean loss of D's."""
        finetune = self.work.places("finetune", number, SEAL.batch_size)
        safe = self.work.places("trusted", number, SEAL.safe_batch_size)
        step = SelectorStep(number, 0, finetune, safe)
        self.state, means = selector_step(self.learners, self.run, self.state, step, local_context())
        return (1 - SEAL.gamma) * means["safe"] + SEAL.gamma * means["finetune"]


def our_step(method: Method, shape: Shape, work: Workload) -> OurStep | OurSeal:
    """Our way of a method's step."""
    return OurSeal(method, shape, work) if method.objective is None else OurStep(method, shape, work)
