"""Running a stage on its workers: its key, one maker at a time, and the rows it reports kept with its result."""

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from raysafe.artifacts import FORMAT, Artifact, Store, fingerprint, plain, write_json
from raysafe.context import Context
from raysafe.stages.base import Stage


def stage_key(stage: Stage) -> str:
    """What identifies a stage's result."""
    return fingerprint([FORMAT, stage.kind, stage])


def make(stage: Stage, store: Store, context: Context) -> Artifact:
    """Run a stage on the workers of `context`, unless its result is there already; every rank calls it."""
    kind, key = stage.kind, stage_key(stage)
    maker: AbstractContextManager[tuple[Path, dict[str, Any]] | None] = nullcontext((Path(), {}))
    if context.rank == 0:
        maker = store.making(kind, key, plain(stage))
    with maker as place:
        if context.gather(place is None)[0]:
            return store.artifact(kind, key)
        assert place is not None
        folder, result = place
        workspace = store.workspace(kind, key)
        history = History(workspace / "history.json")
        told = replace(context, report_row=history.around(context.report_row)) if context.rank == 0 else context
        result.update(stage.run(told, folder, workspace))
        if context.rank == 0:
            write_json(folder / "history.json", history.rows)
    context.barrier()
    return store.artifact(kind, key)


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

    @staticmethod
    def of(artifact: Artifact) -> list[tuple[int, dict[str, float]]]:
        """(step, metrics) of every row that the stage reported."""
        rows = json.loads((artifact.folder / "history.json").read_text(encoding="utf-8"))
        return [(row["step"], row["metrics"]) for row in rows]
