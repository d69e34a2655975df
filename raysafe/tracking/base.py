"""The seam between a sweep and whatever keeps its record: one protocol, and the rules that every tracker shares."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from raysafe.errors import RaysafeError, require

RunKind = Literal["sweep", "trial", "stage"]
EndStatus = Literal["FINISHED", "STOPPED", "FAILED", "INTERRUPTED"]
"""STOPPED: ended early by the scheduler. INTERRUPTED: to be gone on with."""
ChartKind = Literal["parallel", "scatter", "contour", "lines", "bars"]
TABLES = "tables"
"""The folder of artifacts that a tracker's pages show as tables: JSON files `{"columns": [...], "data": [[...], ...]}`."""
DESCRIPTION = "description"
"""The tag that people read as a run's description."""
MAX_TEXT = 6000
"""Characters of a parameter or tag that are kept; MLflow would cut a parameter there without a word."""
_USER_INFO = re.compile(r"\b(https?://)[^/@\s]+@|\b(\w+://)[^/@\s:]*:[^/@\s]*@")


@dataclass(frozen=True)
class RunSpec:
    """A run as its sweep knows it. Equal `kind` and `key` in one experiment: the same run, also after a restart."""

    kind: RunKind
    key: str
    """Unique among the experiment's runs of this kind: a sweep's or trial's name, a stage's key."""
    name: str
    """What people read."""
    parent: str | None = None
    """The id of the run that this one is shown under."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Dotted settings. A parameter never changes: on resuming, another value becomes the tag `raysafe.changed.NAME`."""
    tags: Mapping[str, str] = field(default_factory=dict)
    stage: str | None = None
    """The kind of a stage (`rank`, `train`, ...)."""

    def __post_init__(self) -> None:
        require(re.fullmatch(r"[\w.:/=+-]+", self.key) is not None, "key has only letters, digits and _.:/=+-", self.key)
        require((self.kind == "stage") == (self.stage is not None), "stage is given for runs of kind stage only", self.stage)

    def all_tags(self) -> dict[str, str]:
        """Its own tags and those that it is found by."""
        found_by = {"raysafe.kind": self.kind, "raysafe.key": self.key}
        if self.stage is not None:
            found_by["raysafe.stage"] = self.stage
        return safe_tags(self.tags) | found_by

    def all_params(self) -> dict[str, str]:
        """The parameters as texts."""
        return {safe_name(name): short_text(value) for name, value in self.params.items()}


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset that a run reads."""

    name: str
    path: str
    """Where it lies, or `sandbox`."""
    fingerprint: str
    """Of its rows, at most 36 characters."""
    context: str
    """Its role: `finetune`, `safe`, `align`, `harmful`, ..."""
    rows: int | None = None


@dataclass(frozen=True)
class Column:
    """What runs are compared by: a parameter, or the last value of a metric."""

    kind: Literal["param", "metric"]
    name: str


@dataclass(frozen=True)
class Chart:
    """A picture of many runs. Axes: of `parallel` any number, left to right; of `scatter` x, y; of `contour` x, y, z;
    of `lines` and `bars` one metric, over steps and over runs."""

    kind: ChartKind
    axes: tuple[Column, ...]

    def __post_init__(self) -> None:
        least = {"scatter": 2, "contour": 3}.get(self.kind, 1)
        require(len(self.axes) >= least, f"{self.kind} has {least} axes or more", len(self.axes))


@dataclass(frozen=True)
class View:
    """A comparison of an experiment's runs that people open by a link: columns of the table, and charts."""

    key: str
    """Of the link: letters, digits and -."""
    name: str
    """What people read."""
    kind: RunKind
    columns: tuple[Column, ...]
    charts: tuple[Chart, ...]
    order: Column | None = None
    """Runs come by this, the highest first; the newest first if left out."""
    stage: str | None = None
    """Of runs of kind stage, those of this one only."""
    evaluation: str | None = None
    """Of trials, those whose figures are of this evaluation only (tag `raysafe.evaluation`)."""

    def __post_init__(self) -> None:
        require(re.fullmatch(r"[A-Za-z0-9-]+", self.key) is not None, "key has only letters, digits and -", self.key)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "View":
        """From what `dataclasses.asdict` makes of a view, also by way of JSON."""
        columns = tuple(Column(**column) for column in plain["columns"])
        charts = tuple(Chart(**chart | {"axes": tuple(Column(**axis) for axis in chart["axes"])}) for chart in plain["charts"])
        order = Column(**plain["order"]) if plain["order"] else None
        return cls(**{**plain, "columns": columns, "charts": charts, "order": order})


@dataclass(frozen=True)
class ModelSpec:
    """A checkpoint that a run has made. It stays where it is."""

    name: str
    """What people read."""
    path: str
    """Where it lies."""
    register_as: str = ""
    """The registered model that it becomes a version of, if any."""

    def __post_init__(self) -> None:
        fits = re.fullmatch(r"[\w. -]*", self.register_as) is not None
        require(fits, "register_as has only letters, digits, spaces and _.-", self.register_as)


class Refused(RaysafeError):
    """The tracker is there, and will never take what it was told."""


class Tracker(Protocol):
    """Keeps the record of a sweep. Every method raises RaysafeError if the store fails, Refused if it will always fail.

    Whatever it is told may be told again, after a restart, and is on record once. `time_ms`: when it happened, in
    milliseconds since 1970; now if left out.
    """

    def start(self, run: RunSpec, time_ms: int | None = None) -> str:
        """Start a run, or go on in the one of the same kind and key; returns its id."""

    def log(self, run_id: str, step: int, metrics: Mapping[str, float], time_ms: int | None = None) -> None:
        """Metrics of a step. A metric has one value a step: the first that is told.

        A value that is not finite is left out of the curve and named in the tag `raysafe.not_finite`.
        """

    def note(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run, which may have ended; `description` is what people read about it.

        `{run:ID}` in a value is another run by the id that its `start` gave, `{experiment}` the experiment's own id (`link_to`).
        """

    def artifact(self, run_id: str, path: Path, folder: str = "") -> None:
        """Keep a copy of a file, or of a folder's files, under `folder` of the run; a file in TABLES is shown as a table."""

    def dataset(self, run_id: str, dataset: DatasetSpec) -> None:
        """Note that the run reads a dataset."""

    def model(self, run_id: str, model: ModelSpec) -> None:
        """Make known a checkpoint of the run, which is not copied; also as a version of a registered model where it says so."""

    def view(self, view: View, time_ms: int | None = None) -> None:
        """Keep a comparison; one of the same key gives way to it."""

    def end(self, run_id: str, status: EndStatus, error: str = "", time_ms: int | None = None) -> None:
        """End a run: tag `raysafe.status`, and `raysafe.error` where there is one."""

    def answers(self) -> bool:
        """Whether the store takes anything at all now. Never raises: asked when a call has failed."""


def link_to(run_id: str, text: str) -> str:
    """A link from the description of one run to another one, as Markdown, for `note`. `run_id`: as `start` gave it."""
    return f"[{text}](#/experiments/{{experiment}}/runs/{{run:{run_id}}})"


def with_runs(text: str, id_of: Callable[[str], str]) -> str:
    """A tag's text with what a tracker calls its runs in the place of `{run:ID}`."""
    return re.sub(r"\{run:([\w.:/=+-]+)\}", lambda match: id_of(match[1]), text)


def short_text(value: Any) -> str:
    """A setting as a text: JSON unless it is one, without a URL's password, cut off at MAX_TEXT with a note that says so."""
    text = without_password(value if isinstance(value, str) else json.dumps(value, default=str))
    if len(text) <= MAX_TEXT:
        return text
    note = f"… (cut off; {len(text)} characters in all)"
    return text[: MAX_TEXT - len(note)] + note


def without_password(text: str) -> str:
    """The text with `***` for user and password in its URLs."""
    return _USER_INFO.sub(lambda match: f"{match[1] or match[2]}***@", text)


def safe_name(name: str) -> str:
    """The name with `_` for what MLflow takes in no name."""
    return re.sub(r"[^\w. /:-]", "_", name, flags=re.ASCII)[:250]


def safe_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags with names and values that every tracker takes."""
    return {safe_name(name): short_text(value) for name, value in tags.items()}


def split_finite(metrics: Mapping[str, float]) -> tuple[dict[str, float], list[str]]:
    """The finite metrics, and the names of the others."""
    named = {safe_name(name): float(value) for name, value in metrics.items()}
    finite = {name: value for name, value in named.items() if math.isfinite(value)}
    return finite, [name for name in named if name not in finite]


def changed_tags(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """`raysafe.changed.NAME` for every parameter that now has another value than the one on record."""
    changed = {name: value for name, value in new.items() if name in old and old[name] != value}
    return {f"raysafe.changed.{name}"[:250]: value for name, value in changed.items()}
