"""Running a stage on its workers: its key, one maker at a time, and the rows it reports kept with its result."""

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic

from raysafe.artifacts import FORMAT, Artifact, Artifacts, fingerprint, plain, write_json
from raysafe.context import Context, Report
from raysafe.evaluation.completions import COMPLETIONS
from raysafe.stages.base import Made, R, Stage, Watch
from raysafe.training.engine import Engines
from raysafe.training.workplace import Workplace


def stage_key(stage: Stage[Any]) -> str:
    """What identifies a stage's result."""
    return fingerprint([FORMAT, stage.kind, stage])


def place_of(stage: Stage[R], store: Artifacts) -> Made[R]:
    """Where a stage's result is or will be."""
    return Made(store.artifact(stage.kind, stage_key(stage)), stage.Result)


def make(stage: Stage[R], store: Artifacts, context: Context, engines: Engines) -> Made[R]:
    """Run a stage on the workers of `context`, unless its result is there already; every rank calls it."""
    made = place_of(stage, store)
    kind, key = made.artifact.kind, made.artifact.key
    context = replace(context, kept=store.artifact(COMPLETIONS, "").folder)
    maker: AbstractContextManager[tuple[Path, dict[str, Any]] | None] = nullcontext((Path(), {}))
    if context.rank == 0:
        maker = store.making(kind, key, plain(stage))
    with maker as found:
        if context.gather(found is None)[0]:
            return made
        assert found is not None
        folder, result = found
        workspace = store.workspace(kind, key)
        history = History(workspace / "history.json")
        keeping = replace(context, report_row=history.around(context.report_row)) if context.rank == 0 else context
        if context.rank == 0:
            history.tell_again(context.report_row)
        result.update(plain(stage.run(Workplace(keeping, engines, folder, workspace))))
        if context.rank == 0:
            write_json(folder / "history.json", history.rows)
    context.barrier()
    return made


@dataclass(frozen=True)
class Finished(Generic[R]):
    """A job whose result is there."""

    made: Made[R]

    def wait(self) -> Made[R]:
        """At once."""
        return self.made


@dataclass(frozen=True)
class Here:
    """A `Launch` that makes each stage at once, in this process."""

    store: Artifacts
    context: Context
    engines: Engines

    def __call__(self, stage: Stage[R], watch: Watch | None = None) -> Finished[R]:
        """Make it, or find it with the points that it told."""
        if watch is None:
            return Finished(make(stage, self.store, self.context, self.engines))
        made = place_of(stage, self.store)
        if self.store.ready(made.artifact.kind, made.artifact.key):
            for point in History.of(made.artifact):
                watch(*point)
        context = replace(self.context, report_row=_watched(self.context.report_row, watch))
        return Finished(make(stage, self.store, context, self.engines))


def _watched(report_row: Report, watch: Watch) -> Report:
    def report(step: int, metrics: dict[str, float]) -> bool:
        stop = report_row(step, metrics)
        watch(step, metrics)
        return stop

    return report


class History:
    """The rows that a stage reports, kept with its result, so that they can be told again without running it again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []

    def around(self, report: Any) -> Any:
        """`report`, with every row kept first."""

        def report_row(step: int, metrics: dict[str, float]) -> bool:
            self.rows = [row for row in self.rows if row["step"] < step] + [{"step": step, "metrics": metrics}]
            write_json(self.path, self.rows)
            return report(step, metrics)

        return report_row

    def tell_again(self, report: Any) -> None:
        """What an earlier attempt told, of which those who listen now may know nothing."""
        for row in self.rows:
            report(row["step"], row["metrics"])

    @staticmethod
    def of(artifact: Artifact) -> list[tuple[int, dict[str, float]]]:
        """(step, metrics) of every row that the stage reported."""
        rows = json.loads((artifact.folder / "history.json").read_text(encoding="utf-8"))
        return [(row["step"], row["metrics"]) for row in rows]
