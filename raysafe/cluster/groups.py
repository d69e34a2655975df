"""Groups of Ray Train workers that stay for a whole sweep: each is one TorchTrainer whose loop asks the desk for work."""

import logging
import os
import pickle
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic
from uuid import uuid4

import ray

# here, not in the groups' threads: two imports at once break on Ray's circular ones
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from raysafe.artifacts import Artifact, Store
from raysafe.cluster.worker import GroupSettings, group_loop
from raysafe.config.sections import Resources
from raysafe.errors import ConfigError, StageError, StageStopped
from raysafe.stages.base import Made, R, Stage, Watch
from raysafe.stages.making import History, place_of
from raysafe.sweep.desk import Desk
from raysafe.sweep.events import Event, JobState

ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_worker_maximum_startup_concurrency": "16",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONWARNINGS": "ignore",
}
"""Of all processes of a sweep."""
LOOK_EVERY_S = 0.1
GOODBYE_S = 60
"""How long a group gets to end what it does; generating answers can't be stopped half-way."""
THREAD = "raysafe worker group"
Point = tuple[str, int, dict[str, float]]


@dataclass(frozen=True)
class Groups:
    """Worker groups at work on a desk (an actor's handle). `grows`: on a cluster that brings up nodes on demand."""

    desk: Any
    store: Store
    count: int
    resources: Resources = field(default_factory=Resources)
    grows: bool = False

    def room(self) -> int:
        """How many groups the cluster has room for as it is now."""
        return fitting(self.resources)

    def launcher(self, trial: str, on_point: Callable[[Point], None] | None = None) -> "DeskLaunch":
        """A `launch` for one trial (see `trial.py`)."""
        return DeskLaunch(self.desk, self.store, trial, on_point)

    def events(self, since: int) -> list[Event]:
        """What has happened at the desk from event number `since` on."""
        return ray.get(self.desk.events.remote(since))

    def begin(self, stages: Sequence[Stage[Any]]) -> None:
        """Post stages that trials will ask for, before there are trials; nobody waits for them here."""
        for stage in stages:
            made = place_of(stage, self.store)
            if not self.store.ready(made.artifact.kind, made.artifact.key):
                post(self.desk, "the sweep", stage, made.artifact)


def post(desk: Any, trial: str, stage: Stage[Any], artifact: Artifact) -> None:
    """Tell the desk that a trial wants a stage. A job's id is its artifact's."""
    ray.get(desk.post.remote(trial, artifact.id, stage.label, stage.shared, pickle.dumps(stage)))


@dataclass(frozen=True)
class DeskLaunch:
    """A `Launch` that posts stages at the desk; `on_point` sees (label, step, metrics) of every point while they are waited for.

    `waited` fills with the ids of the jobs whose results the trial has got.
    """

    desk: Any
    store: Store
    trial: str
    on_point: Callable[[Point], None] | None = None
    waited: set[str] = field(default_factory=set)

    def __call__(self, stage: Stage[R], watch: Watch | None = None) -> "DeskJob[R]":
        """Post it. Of a stage whose result is there the desk gets the points that it told, so that they are told again."""
        made = place_of(stage, self.store)
        if self.store.ready(made.artifact.kind, made.artifact.key):
            points = History.of(made.artifact)
            ray.get(self.desk.reuse.remote(self.trial, made.artifact.id, stage.label, stage.shared, points))
        else:
            post(self.desk, self.trial, stage, made.artifact)
        return DeskJob(self, stage.label, made, watch)


@dataclass(frozen=True)
class DeskJob(Generic[R]):
    """A stage posted at the desk."""

    launch: DeskLaunch
    label: str
    made: Made[R]
    watch: Watch | None = None

    def wait(self) -> Made[R]:
        """Its result, after all its points. Raises StageError with the worker's message, or StageStopped."""
        if self.made.artifact.id not in self.launch.waited:
            self._wait()
            self.launch.waited.add(self.made.artifact.id)
        return self.made

    def _wait(self) -> None:
        launch, seen = self.launch, 0
        while True:
            state, point, error = ray.get(launch.desk.look.remote(launch.trial, self.made.artifact.id, seen))
            if point is not None:
                seen += 1
                if launch.on_point is not None:
                    launch.on_point((self.label, *point))
                if self.watch is not None:
                    self.watch(*point)
            elif state is JobState.DONE:
                return
            elif state is JobState.STOPPED:
                raise StageStopped(f"{self.label} was stopped")
            elif state is JobState.FAILED:
                raise StageError(f"stage {self.label}: {error}")
            else:
                time.sleep(LOOK_EVERY_S)


def connect(address: str | None, cpus: int | None = None) -> None:
    """Start Ray here (with as many CPUs as the machine has, or as given), or join a running cluster; quiet, as the
    sweep's own table tells what happens."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    os.environ.update({name: value for name, value in ENVIRONMENT.items() if name.startswith("RAY_")})
    options: dict[str, Any] = {"address": address} if address else {"include_dashboard": False, "num_cpus": cpus}
    ray.init(
        **options,
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": {**ENVIRONMENT, **_passed_on()}},
    )


def _passed_on() -> dict[str, str]:
    names = ("HF_HOME", "HF_HUB_OFFLINE", "DS_ACCELERATOR", "NCCL_DEBUG", "OMP_NUM_THREADS")
    given = {name: os.environ[name] for name in names if name in os.environ}
    return {"OMP_NUM_THREADS": "1", **given}


def group_count(resources: Resources, may_grow: bool = False, at_most: int | None = None) -> int:
    """How many groups: as the configuration says, or as the cluster holds but `at_most`. Raises ConfigError if they don't fit.

    may_grow: a cluster that brings up nodes on demand; with `resources.groups` given, what it has now is not asked.
    """
    if may_grow and resources.groups:
        return resources.groups
    have, needs, fits = ray.cluster_resources(), needs_of(resources), fitting(resources)
    if fits < 1 or (resources.groups or 1) > fits:
        shown = ", ".join(f"{have.get(name, 0):g} {name}" for name in needs)
        wanted = ", ".join(f"{need:g} {name}" for name, need in needs.items() if need)
        raise ConfigError(
            f"`resources`: {resources.groups or 1} group(s) of {resources.workers} worker(s) need {wanted} each, but the "
            f"cluster has {shown}. Lower resources.workers or resources.groups, or join a larger cluster; on one that grows "
            "on demand, set resources.groups."
        )
    return resources.groups or min(fits, at_most or fits)


def needs_of(resources: Resources) -> dict[str, int]:
    """What a group takes, by Ray's names."""
    return {"CPU": resources.cpus_per_worker * resources.workers, "GPU": resources.gpus_per_worker * resources.workers}


def fitting(resources: Resources) -> int:
    """How many groups the whole cluster holds as it is now."""
    have = ray.cluster_resources()
    return min(int(have.get(name, 0) // need) for name, need in needs_of(resources).items() if need)


@contextmanager
def worker_groups(storage: Path, resources: Resources, may_grow: bool = False, at_most: int | None = None) -> Iterator[Groups]:
    """Groups ready to take stages; on the way out all of them end, and their placement groups with them."""
    count = group_count(resources, may_grow, at_most)
    name = f"raysafe-desk-{uuid4().hex[:8]}"
    actor: Any = ray.remote(Desk)
    desk = actor.options(name=name, num_cpus=0).remote(resources.max_failures, resources.fresh_every)
    ray.get(desk.events.remote(0))
    alive = _Alive(desk, count)
    settings = [GroupSettings(name, f"group-{number}", str(storage.absolute())) for number in range(count)]
    threads = [threading.Thread(target=_keep, args=(item, resources, alive), name=THREAD, daemon=True) for item in settings]
    for thread in threads:
        thread.start()
    try:
        yield Groups(desk, Store(storage), count, resources, may_grow)
    finally:
        ray.get(desk.close.remote())
        for thread in threads:  # what runs stops at its next step
            thread.join(timeout=GOODBYE_S)
        ray.kill(desk)
        for item in settings:  # Ray Train's own bookkeeping; results are in the artifacts
            shutil.rmtree(storage.absolute() / "ray" / f"{name}-{item.group}", ignore_errors=True)


def still_at_work() -> bool:
    """Whether a group's thread is in Ray yet: then shutting Ray down would end this process in the middle of a sentence."""
    return any(thread.name == THREAD for thread in threading.enumerate())


class _Alive:
    """How many groups are left, counted across threads."""

    def __init__(self, desk: Any, count: int) -> None:
        self.desk, self.count, self.lock = desk, count, threading.Lock()

    def lost(self, group: str, error: str) -> None:
        with self.lock:
            self.count -= 1
            ray.get(self.desk.lose.remote(group, error, self.count))


def _keep(settings: GroupSettings, resources: Resources, alive: _Alive) -> None:
    """Run one group until the desk closes, with fresh processes as often as the desk asks for them."""
    try:
        while not ray.get(alive.desk.is_closed.remote()):
            _trainer(settings, resources).fit()
    except Exception as error:
        alive.lost(settings.group, f"{type(error).__name__}: {str(error)[:300]}")


def _trainer(settings: GroupSettings, resources: Resources) -> Any:
    per_worker = {"CPU": resources.cpus_per_worker}
    if resources.gpus_per_worker:
        per_worker["GPU"] = resources.gpus_per_worker
    return TorchTrainer(
        group_loop,
        train_loop_config=asdict(settings),
        scaling_config=ScalingConfig(
            num_workers=resources.workers,
            use_gpu=resources.gpus_per_worker > 0,
            resources_per_worker=per_worker,
            accelerator_type=resources.accelerator,
        ),
        run_config=RunConfig(
            name=f"{settings.desk}-{settings.group}",
            storage_path=str(Path(settings.storage) / "ray"),
            failure_config=FailureConfig(max_failures=1000, controller_failure_limit=3),  # type: ignore[call-arg]
        ),
    )
