"""The tracker's twin in memory: the same behaviour, nothing on disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from raysafe.tracking.base import DatasetSpec, EndStatus, ModelSpec, RunSpec, View, changed_tags, safe_tags, split_finite


@dataclass
class MemoryRun:
    """A run on record. `status` is RUNNING or how it ended."""

    spec: RunSpec
    status: str = "RUNNING"
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[tuple[str, int, float]] = field(default_factory=list)
    """(name, step, value) in the order in which they came."""
    artifacts: list[str] = field(default_factory=list)
    datasets: list[DatasetSpec] = field(default_factory=list)
    models: list[ModelSpec] = field(default_factory=list)


class MemoryTracker:
    """A Tracker whose record is `runs`, by run id, and `views`, by key."""

    def __init__(self) -> None:
        self.runs: dict[str, MemoryRun] = {}
        self.views: dict[str, View] = {}

    def start(self, run: RunSpec, time_ms: int | None = None) -> str:
        run_id = f"{run.kind}:{run.key}"
        record = self.runs.setdefault(run_id, MemoryRun(run))
        record.spec, record.status = run, "RUNNING"
        record.tags |= run.all_tags() | changed_tags(record.params, run.all_params()) | {"raysafe.status": "RUNNING"}
        record.params = run.all_params() | record.params
        return run_id

    def log(self, run_id: str, step: int, metrics: Mapping[str, float], time_ms: int | None = None) -> None:
        record = self.runs[run_id]
        finite, others = split_finite(metrics)
        known = {(name, at) for name, at, _ in record.metrics}
        record.metrics += [(name, step, value) for name, value in finite.items() if (name, step) not in known]
        if others:
            record.tags["raysafe.not_finite"] = f"step {step}: {', '.join(others)}"

    def note(self, run_id: str, tags: Mapping[str, str]) -> None:
        self.runs[run_id].tags |= safe_tags(tags)

    def artifact(self, run_id: str, path: Path, folder: str = "") -> None:
        files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
        base = path.parent if path.is_file() else path
        self.runs[run_id].artifacts += [str(Path(folder) / file.relative_to(base)) for file in files]

    def dataset(self, run_id: str, dataset: DatasetSpec) -> None:
        if dataset not in self.runs[run_id].datasets:
            self.runs[run_id].datasets.append(dataset)

    def model(self, run_id: str, model: ModelSpec) -> None:
        if model not in self.runs[run_id].models:
            self.runs[run_id].models.append(model)

    def view(self, view: View, time_ms: int | None = None) -> None:
        self.views[view.key] = view

    def end(self, run_id: str, status: EndStatus, error: str = "", time_ms: int | None = None) -> None:
        record = self.runs[run_id]
        record.status = status
        record.tags |= {"raysafe.status": status} | ({"raysafe.error": error} if error else {})

    def answers(self) -> bool:
        return True
