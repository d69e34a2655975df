"""CPU seconds of steps taken in turn, and the peak memory of a step in a process of its own."""

import ctypes
import gc
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

Step = Callable[[int], float]


@dataclass(frozen=True)
class Timed:
    """CPU seconds (all threads) and loss of each step, in order."""

    seconds: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median seconds of a step."""
        return statistics.median(self.seconds)


def in_turn(steps: Mapping[str, Step], count: int) -> dict[str, Timed]:
    """Every way takes step 0, then every way takes step 1, and so on, so that a slow spell of the machine hits them alike."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    losses: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(count):
        for name, step in steps.items():
            gc.collect()
            started = time.process_time()
            losses[name].append(step(number))
            seconds[name].append(time.process_time() - started)
    return {name: Timed(tuple(seconds[name]), tuple(losses[name])) for name in steps}


def ratios(slow: Timed, fast: Timed) -> dict[str, float]:
    """Over the pairs of steps: how many times longer the slow way takes; median, lowest and highest."""
    values = [a / b for a, b in zip(slow.seconds, fast.seconds, strict=True)]
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def difference(left: Sequence[float], right: Sequence[float]) -> float:
    """Largest relative difference of two rows of losses."""
    return max(abs(a - b) / max(abs(a), abs(b), 1e-30) for a, b in zip(left, right, strict=True))


def prepare(threads: int) -> None:
    """The same for every way: so many threads, and no denormals (a saturated margin makes them, at a hundredfold cost)."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)


def peak_memory(run: Callable[[], Any]) -> tuple[int, int]:
    """Bytes of the process before `run`, and at most during it. Raises OSError where Linux's /proc can't be written."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    run()
    return before, _status("VmHWM")


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {key}")


def in_fresh_process(run: Callable[..., Any], *arguments: Any) -> Any:
    """What `run` returns in a new process that has only imported the libraries."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["transformers.models.llama.modeling_llama", "raysafe.ranking.learning"])
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(run, *arguments).result()


def commit() -> str:
    """Short name of the checked-out commit, with + if files are changed; `unknown` outside a repository."""
    here = Path(__file__).parent
    try:
        found = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()
