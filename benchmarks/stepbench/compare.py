"""One method on one shape, all ways: equal losses first, then seconds, operations and memory."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stepbench.flops import count_flops, floor_flops, matmul_throughput
from stepbench.measure import Timed, difference, in_fresh_process, in_turn, peak_memory, prepare, ratios
from stepbench.methods import METHODS, Method
from stepbench.ours import OurDpoAlone, our_step
from stepbench.published import published_step
from stepbench.rows import Workload, make_workload
from stepbench.shapes import SHAPES, Shape

TOLERANCE, TRL_TOLERANCE = 1e-4, 1e-3
"""Largest relative difference of two ways' first losses. DPO's is a difference of sums in the thousands, in float32, and TRL's
hold the same terms in another order."""


@dataclass(frozen=True)
class Run:
    """What is the same for all ways of a run."""

    shape: str
    steps: int
    threads: int
    seed: int
    text: Path | None

    def workload(self) -> Workload:
        """The rows of the run, the same in every process."""
        return make_workload(self.steps, SHAPES[self.shape].vocabulary, self.seed, self.text)


def build(way: str, method: Method, shape: Shape, work: Workload) -> Any:
    """A way of a method's step, ready to take steps."""
    if way.startswith("trl"):
        from stepbench.trl_dpo import trl_live, trl_precomputed

        return {"trl": trl_live, "trl_precomputed": trl_precomputed}[way](method, shape, work)
    return {"published": published_step, "ours": our_step, "ours_alone": OurDpoAlone}[way](method, shape, work)


def compare(run: Run, name: str, ways: tuple[str, ...], memory: bool) -> dict[str, Any]:
    """Figures of the ways, the last of which is ours. Raises SystemExit if a loss differs from ours."""
    method, shape, work = METHODS[name], SHAPES[run.shape], run.workload()
    built = {way: build(way, method, shape, work) for way in ways}
    operations, first = {}, {}
    for way, one in built.items():  # the warm-up is step 0, which is then taken again on the clock
        operations[way] = count_flops(lambda one=one, way=way: first.update({way: one.step(0)}))
    for way in ways[:-1]:
        _check(name, way, difference([first[way]], [first[ways[-1]]]))
    timed = in_turn({way: one.step for way, one in built.items()}, run.steps)
    streams = built[ways[-1]].counted
    floor = [floor_flops(shape, work, streams, method.rows, step) for step in range(run.steps)]
    throughput = matmul_throughput(shape)
    result = {
        "ways": {way: _figures(timed[way], operations[way], sum(floor) / throughput) for way in ways},
        "ratios": {way: ratios(timed[way], timed[ways[-1]]) for way in ways[:-1]},
        "differences": {way: difference(timed[way].losses, timed[ways[-1]].losses) for way in ways[:-1]},
        "floor_flops": sum(floor) / run.steps,
        "first_floor_flops": floor[0],
        "flops_per_s": throughput,
        "cache_s_per_step": built[ways[-1]].cache_s / run.steps,
    }
    del built
    if memory:
        for way in ways:
            result["ways"][way]["memory"] = in_fresh_process(memory_of, run, name, way)
    return result


def _check(name: str, way: str, found: float) -> None:
    allowed = TRL_TOLERANCE if way.startswith("trl") else TOLERANCE
    if not found <= allowed:
        raise SystemExit(f"{name}: the first loss of {way} differs from ours by {found:.2e}, more than {allowed:.0e}.")


def _figures(timed: Timed, operations: int, floor_s: float) -> dict[str, Any]:
    share = floor_s / sum(timed.seconds)
    return {**asdict(timed), "median_s": timed.median, "first_flops": operations, "floor_share": share}


def memory_of(run: Run, name: str, way: str) -> dict[str, int]:
    """Bytes before a step and at most during it, after a first step has made the optimiser's state.

    The step is the one with the most real tokens. Gradients belong to the step: every way frees them at its end.
    """
    prepare(run.threads)
    method, shape, work = METHODS[name], SHAPES[run.shape], run.workload()
    one = build(way, method, shape, work)
    tokens = [
        sum(len(row.input_ids) for stream in method.streams for row in work.pick(stream, step, method.rows))
        for step in range(run.steps)
    ]
    largest = tokens.index(max(tokens))
    one.step((largest + 1) % run.steps)
    before, peak = peak_memory(lambda: one.step(largest))
    return {"before": before, "peak": peak, "step": peak - before, "gradients": 4 * shape.parameters}
