"""Rules across sections: what each section allows by itself and all of them together don't."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from raysafe.artifacts import plain
from raysafe.config.sections import SANDBOX, SchedulerSettings
from raysafe.config.trials import TrialConfig, TrialPlan
from raysafe.config.worlds import AnyWorld, generate
from raysafe.errors import DataError
from raysafe.sandbox.world import POSITIONS
from raysafe.selection import SELECTORS


def sweep_problems(scheduler: SchedulerSettings, trials: Sequence[TrialPlan]) -> Iterable[str]:
    """What in a sweep of sound trials can't work together."""
    known: dict[str, str] = {}
    for plan in trials:
        twin = known.setdefault(json.dumps(plain(plan.config), sort_keys=True), plan.name)
        if twin != plan.name:
            yield f"`sweep`: the trials {twin} and {plan.name} have the same settings; leave one of them out"
    if scheduler.name != "none" and trials:
        yield from scheduler_problems(scheduler, trials)


def scheduler_problems(scheduler: SchedulerSettings, trials: Sequence[TrialPlan]) -> Iterable[str]:
    """Why trials would not tell the scheduler its metric, or it could stop none of them."""
    metric, longest = scheduler.metric, max(plan.config.training.epochs for plan in trials)
    if scheduler.grace_epochs > longest:
        yield f"`scheduler.grace_epochs`: got {scheduler.grace_epochs}, but it takes at most training.epochs = {longest}"
    for plan in trials:
        evaluation = plan.config.evaluation
        if metric != "train_loss" and not evaluation.each_epoch:
            yield (
                f"`evaluation.each_epoch`: got false, but the scheduler `{scheduler.name}` reads `{metric}` after each epoch; "
                "set it to true, or scheduler.metric to train_loss"
            )
        if metric == "utility" and evaluation.utility is None:
            yield f"`evaluation.utility`: this key is needed, as the scheduler `{scheduler.name}` reads `utility`"


@lru_cache(maxsize=64)
def _world_problem(name: str, world: AnyWorld) -> str | None:
    """The size that a world's pools don't hold, or what is wrong with its texts."""
    try:
        generate(world)
    except DataError as error:
        return f"`{name}`: {error}"
    except ValueError as error:
        return f"`{name}.{re.findall('[a-z_]+', str(error))[0]}`: {error}"
    return None


def trial_problems(trial: TrialConfig, workers: int) -> Iterable[str]:
    """What in a trial can't work together, in the user's words, each with its key. `workers`: of a group."""
    worlds = {**trial.worlds, SANDBOX: replace(trial.sandbox, seed=0)}  # what the sandbox holds is the same for every seed
    yield from filter(None, (_world_problem(name, world) for name, world in worlds.items()))
    if trial.model.path == SANDBOX and trial.data.max_length > POSITIONS:
        yield f"`data.max_length`: got {trial.data.max_length}, but it takes at most the sandbox model's {POSITIONS} positions"
    yield from _alignment_problems(trial)
    yield from _batch_problems(trial, workers)
    if trial.data.align is None and trial.objective.alignment:
        yield f"`data.align`: this key is needed, as the objective `{trial.objective.name}` has an alignment term"
    if trial.data.safe is None and (readers := _readers_of_safe(trial)):
        yield f"`data.safe`: this key is needed by {readers[0]}"
    if trial.data.align is None and trial.data.align_harmful is not None:
        yield "`data.align_harmful`: it pairs up with `data.align`, which is not given"
    if trial.selection.model is not None and "model" not in trial.selector.reads:
        takes = ", ".join(name for name, kind in SELECTORS.items() if "model" in kind.reads)
        yield (
            f"`selection.model`: got {trial.selection.model.path!r} with selector `{trial.selector.name}`, which uses no model; "
            f"leave it out or take one of {takes}"
        )
    if trial.data.align is None and trial.data.plant:
        yield f"`data.plant`: got {trial.data.plant}, but it takes 0 without `data.align`, whose harmful answers are planted"
    if trial.selector.keeps_all and trial.percent != 100:
        yield (
            f"`selection.percent`: got {trial.percent:g} with selector `{trial.selector.name}`, which keeps all rows; "
            "leave it out or take another selector"
        )


def _alignment_problems(trial: TrialConfig) -> Iterable[str]:
    """Why the model can't be aligned before the trial."""
    if trial.model.align is None:
        return
    if trial.model.path == SANDBOX:
        got = f"got {trial.model.align} with `model.path` {SANDBOX}"
        yield f"`model.align`: {got}, whose model is made with its policy; leave it out, set it to null, or take another model"
    for name in ("base_steps", "base_batch_size", "base_lr", "base_rank"):
        if getattr(trial.tricks, name) <= 0:
            yield f"`tricks.{name}`: got {getattr(trial.tricks, name)}, but it takes more than 0"


def _batch_problems(trial: TrialConfig, workers: int) -> Iterable[str]:
    """Batches that can't be shared out evenly."""
    batches = [("training", trial.training.batch_size, trial.training.accumulation)]
    if "proxy" in trial.needed_models:
        batches += [("proxy", trial.proxy.batch_size, trial.proxy.accumulation)]
    if trial.model.align is not None:
        batches += [("tricks.base", trial.tricks.base_batch_size, 1)]
    if (learned := trial.selector.learned) is not None:
        batches += [("selector", learned.batch_size, learned.accumulation)]
        batches += [("selector.safe", learned.safe_batch_size, learned.accumulation)]
    for key, rows, accumulation in batches:
        if rows % (workers * accumulation):
            label = f"{key}_batch_size" if key in ("selector.safe", "tricks.base") else f"{key}.batch_size"
            yield f"`{label}`: got {rows}, but it takes a multiple of workers * accumulation = {workers * accumulation}"


def _readers_of_safe(trial: TrialConfig) -> list[str]:
    """What the trusted rows are for in this trial."""
    readers = {
        f"the selector `{trial.selector.name}`": "safe" in trial.selector.reads,
        "W-DOOR's proxy": "proxy" in trial.needed_models,
        f"`selection.safeinstr` {trial.selection.safeinstr}": trial.selection.safeinstr > 0,
    }
    return [name for name, reads in readers.items() if reads]
