"""Ray Tune over the trials: light functions that post stages and pass rows on, a scheduler, and callbacks that tell the desk."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray

from raysafe.cluster.groups import DeskLaunch, Groups
from raysafe.config.sections import SchedulerSettings
from raysafe.config.trials import SweepConfig
from raysafe.errors import StageError, StageStopped
from raysafe.sweep.folder import TrialTask
from raysafe.sweep.trial_record import TrialEnd
from raysafe.trial import run_trial

DRIVER_MEMORY = 1
"""Bytes that a trial asks for: it must hold no CPU, and Tune refuses an empty request."""


def tune_trial(config: Mapping[str, Any], tasks: Sequence[TrialTask], groups: Groups, metric: str | None) -> None:
    """Tune's trainable: walk one trial, report `epoch` rows to the scheduler, leave the result with the desk."""
    from ray import tune

    task = tasks[config["index"]]

    def on_row(row: tuple[str, int, dict[str, float]]) -> None:
        label, _, metrics = row
        told = scheduler_row(label, metrics, metric)
        if told is not None:
            tune.report(told)

    launch = DeskLaunch(groups.desk, groups.store, task.plan.name, on_row)
    try:
        result = run_trial(task.plan.config, groups.store, task.folder, launch, task.inputs)
    except StageStopped:
        return
    except StageError as error:
        ray.get(groups.desk.record.remote(task.plan.name, TrialEnd(error=str(error), used=tuple(launch.used))))
        raise
    ray.get(groups.desk.record.remote(task.plan.name, TrialEnd(result, used=tuple(launch.used))))


def scheduler_row(label: str, metrics: Mapping[str, float], metric: str | None) -> dict[str, float] | None:
    """What the scheduler sees of a training row: `epoch` and its metric; None if it isn't for it."""
    if label != "train" or metric is None:
        return None
    key = metric.replace("train_", "train/") if metric.startswith("train_") else f"eval/{metric}"
    return {"epoch": metrics["epoch"], metric: metrics[key]} if key in metrics else None


def make_scheduler(settings: SchedulerSettings, epochs: int) -> Any:
    """Tune's scheduler, on `epoch`: Tune's own iteration count starts anew when a sweep is resumed."""
    from ray.tune.schedulers import ASHAScheduler, FIFOScheduler

    if settings.name == "none":
        return FIFOScheduler()
    return ASHAScheduler(
        time_attr="epoch",
        metric=settings.metric,
        mode=settings.mode,
        max_t=epochs + 1,  # a trial that gets to its last epoch still has to be evaluated
        grace_period=settings.grace_epochs,
        reduction_factor=settings.reduction_factor,
    )


def run_tune(sweep: SweepConfig, tasks: Sequence[TrialTask], groups: Groups, callback: Any) -> None:
    """Run all trials to their ends; a trial's failure is the callback's business, not an exception."""
    from ray import tune

    scheduler = sweep.scheduler
    metric = scheduler.metric if scheduler.name != "none" else None
    function: Callable[..., Any] = tune.with_parameters(tune_trial, tasks=list(tasks), groups=groups, metric=metric)
    light = tune.with_resources(function, tune.PlacementGroupFactory([{"memory": DRIVER_MEMORY}]))
    epochs = max(plan.config.training.epochs for plan in sweep.trials)
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # the new output prints a banner even when told to be quiet
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Ctrl-C is ours: exit code 130, resumable
    os.environ["TUNE_WARN_THRESHOLD_S"] = "60"
    tuner = tune.Tuner(
        light,
        param_space={"index": tune.grid_search(list(range(len(tasks))))},
        tune_config=tune.TuneConfig(
            scheduler=make_scheduler(scheduler, epochs),
            max_concurrent_trials=sweep.resources.concurrent_trials or groups.count + 2,
            reuse_actors=True,
            trial_name_creator=lambda trial: tasks[trial.config["index"]].plan.name,
            trial_dirname_creator=lambda trial: tasks[trial.config["index"]].plan.name,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(tasks[0].folder.parent.parent / "ray"),
            callbacks=[callback],
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=0),
        ),
    )
    tuner.fit()
