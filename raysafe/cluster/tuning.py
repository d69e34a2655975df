"""Ray Tune over the trials: light functions that post stages and pass points on, a scheduler, and a source of trials."""

import os
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import ray

from raysafe.cluster.groups import DeskLaunch, Groups
from raysafe.cluster.hooks import DeskCallback, SourceSearcher, name_of
from raysafe.cluster.schedulers import SCHEDULERS, TIME
from raysafe.config.sections import SchedulerSettings
from raysafe.config.trials import SweepConfig
from raysafe.errors import GuardStopped, RaysafeError, StageStopped
from raysafe.sweep.events import TrialEnd
from raysafe.sweep.folder import TrialTask
from raysafe.sweep.search import SEARCHES
from raysafe.trial import run_trial

DRIVER_MEMORY = 1
"""Bytes that a trial asks for: it must hold no CPU, and Tune refuses an empty request."""
ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the new output prints a banner even when told to be quiet
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # signals are ours
    "TUNE_WARN_THRESHOLD_S": "60",
    "TUNE_MAX_PENDING_TRIALS_PG": "8",  # with a searcher it would be one at a time
}


def tune_trial(config: Mapping[str, Any], groups: Groups, scheduler: SchedulerSettings) -> None:
    """Tune's trainable: walk one trial, report each epoch to the scheduler, leave the result with the desk."""
    from ray import tune

    task: TrialTask = config["task"]

    def on_point(point: tuple[str, int, dict[str, float]]) -> None:
        label, _, metrics = point
        reported = scheduler_point(label, metrics, scheduler)
        if reported is not None:
            tune.report(reported)

    launch = DeskLaunch(groups.desk, groups.store, task.plan.name, on_point)
    try:
        end = TrialEnd.of(run_trial(task.plan.config, groups.store, task.folder, launch, task.inputs))
    except GuardStopped as stop:
        end = TrialEnd(stopped=str(stop))
    except StageStopped:
        return
    except RaysafeError as error:
        end = TrialEnd(error=str(error))
    except Exception as error:
        end = TrialEnd(error=f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
    ray.get(groups.desk.record.remote(task.plan.name, end))


def scheduler_point(label: str, metrics: Mapping[str, float], scheduler: SchedulerSettings) -> dict[str, float] | None:
    """What the scheduler sees of a point of training: `epoch` and its metric; None if it isn't for it.

    Where answers were scored and say too little for the metric, as gibberish does for safety, it sees the worst there is.
    """
    metric = scheduler.metric
    if label != "train" or scheduler.name == "none":
        return None
    key = metric.replace("train_", "train/") if metric.startswith("train_") else f"eval/{metric}"
    told = metrics.get(key)
    if told is None and key.startswith("eval/") and "eval/coherence" in metrics:
        told = 0.0 if scheduler.mode == "max" else 1.0
    return None if told is None else {TIME: metrics[TIME], metric: told}


def run_tune(sweep: SweepConfig, tasks: Sequence[TrialTask], groups: Groups) -> None:
    """Run all trials to their ends; what becomes of a trial is told the desk, and is no exception."""
    from ray import tune

    os.environ.update(ENVIRONMENT)
    scheduler, logs = sweep.scheduler, tasks[0].folder.parents[1] / "ray"
    function = tune.with_parameters(tune_trial, groups=groups, scheduler=scheduler)
    source = SEARCHES["grid"]([task.plan for task in tasks])
    tuner = tune.Tuner(
        tune.with_resources(function, tune.PlacementGroupFactory([{"memory": DRIVER_MEMORY}])),
        tune_config=tune.TuneConfig(
            search_alg=SourceSearcher(source, {task.plan.name: task for task in tasks}),
            num_samples=-1,  # until the source has no more
            scheduler=SCHEDULERS[scheduler.name](scheduler, max(plan.config.training.epochs for plan in sweep.trials)),
            max_concurrent_trials=sweep.resources.concurrent_trials or groups.count + 2,
            reuse_actors=True,
            trial_name_creator=name_of,
            trial_dirname_creator=name_of,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(logs),
            callbacks=[DeskCallback(groups.desk, str(logs))],
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=0),
        ),
    )
    tuner.fit()
