"""All that the report reads, in one place: a sweep's folder in, frozen values out. Nothing here draws or writes.

What is missing or broken is left out and named in `problems`: a report of half a sweep is better than none.
"""

import fcntl
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from raysafe.report.means import aggregate
from raysafe.report.naming import short_names
from raysafe.report.prompts import ByPrompt, prompts_of
from raysafe.report.summary import AXES, TrialRow, swept_keys
from raysafe.report.sweep_file import SWEEP, planned_trials, question_in, sweep_head
from raysafe.report.table import ended_rows, in_order, rows_of_base
from raysafe.report.variance import Source, variance_of
from raysafe.tracking.backlog import BACKLOG

if TYPE_CHECKING:
    from raysafe.report.judges import Line
    from raysafe.report.rankings import SweepRankings

LOCK = ".lock"
TRIAL, STAGE = "trial:", "stage:"
VARIANT, MARGIN, DIVERGENCE = "asr_prefill_", "refusal_margin_", "kl_depth_"
"""What figures by depth are called, before the depth."""
Known = TypeVar("Known")


@dataclass(frozen=True)
class Point:
    """What was told of a run at one step."""

    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Told:
    """What the sweep's backlog says. `points`: by run, in the order of steps. `stages`: key to label of each shared stage."""

    points: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    stages: Mapping[str, str] = field(default_factory=dict)
    status: str = ""
    """How the sweep's own run ended; empty while it has not."""
    began_ms: int = 0
    last_ms: int = 0


@dataclass(frozen=True)
class RankStage:
    """A ranking that was made for the sweep. `settings`: of its selector, and its seed, dotted. `scores`: by what rows are
    grouped by, then by group, quantiles as in `diagnostics.json`."""

    key: str
    name: str
    settings: Mapping[str, Any]
    points: tuple[Point, ...]
    scores: Mapping[str, Mapping[str, Mapping[str, float] | None]]


@dataclass(frozen=True)
class ReportData:
    """One sweep as the report sees it."""

    folder: Path
    sweep: Mapping[str, Any]
    """`sweep.yaml` without its trials."""
    planned: Mapping[str, Mapping[str, Any]]
    """Configuration of every trial, by name."""
    rows: tuple[TrialRow, ...]
    base: tuple[TrialRow, ...]
    told: Told
    rank_stages: tuple[RankStage, ...]
    rankings: "SweepRankings | None"
    judges: tuple["Line", ...]
    """What judges agree on, all trials together first."""
    running: bool
    """Whether its driver lives."""
    problems: tuple[str, ...]

    @property
    def name(self) -> str:
        """The sweep's."""
        return str(self.sweep.get("name") or self.folder.absolute().name)

    @property
    def question(self) -> str:
        """What was asked; empty if the file doesn't say."""
        return question_in(self.sweep)

    @cached_property
    def by_prompt(self) -> ByPrompt:
        """What single prompts gave in its trials."""
        return prompts_of(self.folder)

    @cached_property
    def means(self) -> list[TrialRow]:
        """Over seeds, in order."""
        return in_order(aggregate(self.rows, self.by_prompt))

    @cached_property
    def variance(self) -> list[Source]:
        """Components of the headline figures' variance."""
        return variance_of(self.rows, self.by_prompt)

    @property
    def scored(self) -> list[TrialRow]:
        """Trials that ended with scores."""
        return [row for row in self.rows if row.status in ("FINISHED", "STOPPED")]

    @property
    def compared(self) -> list[TrialRow]:
        """Those of them that stand against each other: none that a guard has stopped."""
        return [row for row in self.scored if not row.guarded]

    @cached_property
    def names(self) -> Mapping[str, str]:
        """Short names of the swept settings, by dotted name."""
        return short_names(swept_keys(self.rows))

    @cached_property
    def seeds(self) -> str:
        """Of the trials that have ended, or of all that were planned: `0, 1`, or by axis `world 0, 1; ranking 0; training 2`."""
        if any(row.axes for row in self.rows):
            by_axis = {name: {row.axes.get(name) for row in self.rows} for name in AXES}
            by_axis["training"] = {row.seed for row in self.rows}
            texts = {name.removeprefix("seed_"): _numbers(found) for name, found in by_axis.items()}
            return "; ".join(f"{name} {text}" for name, text in texts.items() if text)
        return _numbers({row.seed for row in self.rows} or {config.get("seed") for config in self.planned.values()})

    @property
    def state(self) -> str:
        """FINISHED, FAILED (some trials), INTERRUPTED or RUNNING."""
        if len(self.rows) >= max(1, len(self.planned)):
            return "FAILED" if any(row.status == "FAILED" for row in self.rows) else "FINISHED"
        return "RUNNING" if self.running else "INTERRUPTED"

    def setting(self, trial: str, key: str) -> Any:
        """A swept setting's value in a trial, ended or not; None if it has none."""
        value: Any = self.planned.get(trial, {})
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    def points(self, trial: str) -> tuple[Point, ...]:
        """Of a trial's training and scores."""
        return self.told.points.get(TRIAL + trial, ())


def read_data(folder: Path, rankings: "SweepRankings | None" = None) -> ReportData:
    """Everything of a sweep's folder. Raises DataError if it is none, or its summary can't be read.

    rankings: those of the folder, where they have been read already.
    """
    problems: list[str] = []
    attempt = _Attempts(problems)
    nothing: dict[str, Any] = {}
    unplanned: dict[str, dict[str, Any]] = {}
    head = attempt(SWEEP, lambda: sweep_head(folder), nothing)
    told = attempt(BACKLOG, lambda: read_backlog(folder / BACKLOG), Told())
    rows = [_with_variants(row, told) for row in ended_rows(folder)]
    if rankings is None and any((folder / "trials").glob("*/selection.parquet")):
        rankings = attempt("selections", lambda: _rankings(folder), None)
    return ReportData(
        folder=folder,
        sweep=head,
        planned=attempt(f"{SWEEP}, trials", lambda: planned_trials(folder), unplanned),
        rows=tuple(in_order(rows)),
        base=tuple(attempt("base.csv", lambda: rows_of_base(folder), [])),
        told=told,
        rank_stages=tuple(attempt("rankings' artifacts", lambda: _rank_stages(folder, told), [])),
        rankings=rankings,
        judges=tuple(attempt("verdicts", lambda: _judges(folder, rows), [])),
        running=told.status != "INTERRUPTED" and _is_held(folder / LOCK),
        problems=tuple(problems),
    )


@dataclass(frozen=True)
class _Attempts:
    """Reads what may be broken, and keeps what went wrong."""

    problems: list[str]

    def __call__(self, what: str, read: Callable[[], Known], otherwise: Known) -> Known:
        try:
            return read()
        except Exception as problem:  # a file that others write, and may have left half of
            self.problems.append(f"{what}: can't be read ({' '.join(str(problem).split())[:200]}).")
            return otherwise


def read_backlog(path: Path) -> Told:
    """The points, stages and times that a backlog holds; a torn last line is left out."""
    steps: dict[str, dict[int, dict[str, float]]] = {}
    stages: dict[str, str] = {}
    status, times = "", []
    for entry in _entries(path):
        run, do = entry["run"], entry["do"]
        times += [entry["time_ms"]] if entry.get("time_ms") else []
        if do == "log":
            steps.setdefault(run, {}).setdefault(entry["step"], {}).update(entry["metrics"])
        elif do == "start" and run.startswith(STAGE):
            stages[run.removeprefix(STAGE)] = entry["spec"].get("stage") or ""
        elif run.startswith("sweep:") and do in ("start", "end"):
            status = entry.get("status", "")
    points = {run: tuple(Point(step, by_step[step]) for step in sorted(by_step)) for run, by_step in steps.items()}
    return Told(points, stages, status, min(times, default=0), max(times, default=0))


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)


def _with_variants(row: TrialRow, told: Told) -> TrialRow:
    """The row with what the backlog has of its figures by depth, which the summary lacks."""
    points = told.points.get(TRIAL + row.trial, ())
    last = next((point.metrics for point in reversed(points) if any(name.startswith("eval/") for name in point.metrics)), {})
    wanted = tuple(f"eval/{start}" for start in (VARIANT, MARGIN, DIVERGENCE))
    variants = {name.removeprefix("eval/"): value for name, value in last.items() if name.startswith(wanted)}
    known = {name for name in variants if name.split("_")[2].isdigit()}
    return replace(row, figures={**{name: variants[name] for name in known}, **row.figures})


def _is_held(path: Path) -> bool:
    """Whether a driver holds the sweep's lock; a file that a killed one left is free."""
    if not path.exists():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _rankings(folder: Path) -> "SweepRankings | None":
    from raysafe.report.rankings import read_rankings  # torch, which a folder without selections doesn't need

    return read_rankings(folder)


def _judges(folder: Path, rows: Sequence[TrialRow]) -> list["Line"]:
    from raysafe.report.judges import read_agreement  # pandas, which a folder without verdicts doesn't need

    return read_agreement(folder, [row.trial for row in rows]) if any((folder / "trials").glob("*/verdicts.parquet")) else []


def _rank_stages(folder: Path, told: Told) -> list[RankStage]:
    """Of the sweep's shared stages, those that ranked; their artifacts lie in the store beside the sweep."""
    keys = [key for key, label in told.stages.items() if label == "rank"]
    homes = {key: folder.absolute().parent / "artifacts" / "rank" / key for key in keys}
    settings = {key: _rank_settings(_json(home / "manifest.json")) for key, home in homes.items()}
    names = _rank_names(settings)
    stages = []
    for key, home in homes.items():
        history = [Point(row["step"], row["metrics"]) for row in _json(home / "history.json") or []]
        points = tuple(history) or told.points.get(STAGE + key, ())
        scores = (_json(home / "diagnostics.json") or {}).get("scores", {})
        stages.append(RankStage(key, names[key], settings[key], points, scores))
    return sorted(stages, key=lambda stage: stage.name)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _rank_settings(manifest: Mapping[str, Any] | None) -> dict[str, Any]:
    inputs = (manifest or {}).get("inputs", {})
    return {**{f"selector.{name}": value for name, value in inputs.get("selector", {}).items()}, "seed": inputs.get("seed")}


def _rank_names(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """`seal gamma=0.1 seed=0`: the selector, and what tells its rankings apart."""
    names = list(dict.fromkeys(name for one in settings.values() for name in one if name != "selector.name"))
    shown = [name for name in names if len({repr(one.get(name)) for one in settings.values() if name in one}) > 1]
    texts = {}
    for key, one in settings.items():
        parts = [f"{name.rpartition('.')[2]}={one[name]}" for name in shown if one.get(name) is not None]
        texts[key] = " ".join([str(one.get("selector.name") or key[:8]), *parts])
    return texts


def _numbers(found: Iterable[int | None]) -> str:
    return ", ".join(map(str, sorted(number for number in found if number is not None)))


def mean_of(rows: Sequence[TrialRow], name: str) -> float | None:
    """Mean of a figure over the rows that have it."""
    known = [float(row.figures[name]) for row in rows if row.figures.get(name) is not None]
    return sum(known) / len(known) if known else None
