"""The loop of one Ray Train worker: ask the desk for a stage, run it with its group, ask again."""

import os
import pickle
import shutil
import threading
import time
import traceback
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import ray
import torch
import torch.distributed as dist

from raysafe.artifacts import Store
from raysafe.cluster.usage import Usage
from raysafe.context import Context
from raysafe.errors import RaysafeError, StageStopped
from raysafe.stages.making import make
from raysafe.sweep.desk import CLOSE, RENEW, WAIT
from raysafe.sweep.events import JobState
from raysafe.training.engine import DeepSpeedEngine

ASK_EVERY_S = 0.05
HEARTBEAT_S = 5.0
WATCH_S = 0.5


@dataclass(frozen=True)
class GroupSettings:
    """What a worker must know: the desk's name, its own group's, and where results go."""

    desk: str
    group: str
    storage: str


def group_loop(settings: dict[str, str]) -> None:
    """`train_loop_per_worker` of every group; returns when the desk closes or wants fresh processes."""
    from ray.train import get_context

    group = GroupSettings(**settings)
    place = get_context()
    rank, world_size = place.get_world_rank(), place.get_world_size()
    desk = ray.get_actor(group.desk)
    prepare_process()
    while True:
        job_id, stage = _next(desk, group.group, rank, world_size)
        if job_id in (CLOSE, RENEW):
            return
        if job_id != WAIT:
            _run(desk, group, job_id, stage, rank, world_size)


def prepare_process() -> None:
    """One thread a worker unless told otherwise (workers share the cores), and no denormals, which are slow."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.set_flush_denormal(True)


def device() -> torch.device:
    """The GPU that Ray gave this worker, or the CPU."""
    from ray.train.torch import get_device

    return get_device()


def _next(desk: Any, group: str, rank: int, world_size: int) -> tuple[str, Any]:
    """rank 0's order, on all ranks; WAIT now and then, so that idle ranks don't run into a collective's time-out."""
    order: list[Any] = [(WAIT, None)]
    until = time.monotonic() + HEARTBEAT_S
    while rank == 0 and order[0][0] == WAIT and time.monotonic() < until:
        order = [ray.get(desk.next_job.remote(group))]
        if order[0][0] == WAIT:
            time.sleep(ASK_EVERY_S)
    if world_size > 1:
        dist.broadcast_object_list(order, src=0)
    return order[0]


def _run(desk: Any, group: GroupSettings, job_id: str, stage: Any, rank: int, world_size: int) -> None:
    """Run one job. Only our own errors are a verdict on it; with any other the group starts anew and is offered it again."""

    usage = Usage(device())

    def report(step: int, metrics: dict[str, float]) -> bool:
        return ray.get(desk.point.remote(group.group, job_id, step, metrics | usage.now()))

    state, error, watch = JobState.DONE, "", Watch(desk, job_id)
    try:
        with watch if rank == 0 else nullcontext():
            context = Context(report, usage.device, rank, world_size, watch.stop.is_set)
            make(pickle.loads(stage), Store(group.storage), context, DeepSpeedEngine)
    except StageStopped:
        state = JobState.STOPPED
        if rank == 0 and not ray.get(desk.is_closed.remote()):  # nobody will go on with it, as after an interruption
            stopped = Store(group.storage).by_id(job_id)
            shutil.rmtree(Store(group.storage).workspace(stopped.kind, stopped.key), ignore_errors=True)
    except RaysafeError as problem:
        state, error = JobState.FAILED, str(problem)
    except Exception as problem:
        ray.get(desk.trouble.remote(group.group, job_id, f"{type(problem).__name__}: {problem}\n{traceback.format_exc()}"))
        raise
    if rank == 0 or state is JobState.FAILED:
        ray.get(desk.end.remote(group.group, job_id, state, error))
    if state is JobState.FAILED and world_size > 1:
        # the other ranks may wait in a collective for this one: the group starts anew
        raise RuntimeError(error)


class Watch:
    """Asks the desk about a running job from a thread of its own, so that a stop takes effect at the next step."""

    def __init__(self, desk: Any, job_id: str) -> None:
        self.desk, self.job_id = desk, job_id
        self.stop, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *problem: Any) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(WATCH_S):
            if ray.get(self.desk.unwanted.remote(self.job_id)):
                self.stop.set()
                return
