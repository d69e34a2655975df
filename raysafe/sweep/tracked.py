"""The sweep's runs in the tracker: a parent, one run a trial, one a shared stage; points as they come.

Shared stages are in `tracked_stages.py`, what stands in tables in `tracked_tables.py`, what is said of a run in `described.py`.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from raysafe.artifacts import Artifacts
from raysafe.config.trials import SweepConfig
from raysafe.data.references import DataRef
from raysafe.report.figures import tracked
from raysafe.report.judges import JUDGES_CSV
from raysafe.report.page import PAGE
from raysafe.report.rankings import FOLDER as RANKINGS
from raysafe.report.summary import SUMMARY, TrialRow, evaluations
from raysafe.stages.inputs import TrialInputs
from raysafe.sweep.best import best_of, headline_metrics, swept_counts
from raysafe.sweep.described import (
    how_it_ended,
    how_the_sweep_ended,
    title_of,
    trial_params,
    what_it_is,
)
from raysafe.sweep.events import PointTold, TrialEnded
from raysafe.sweep.places import CONFIG, SWEEP
from raysafe.sweep.tracked_stages import StageRuns, milliseconds, named
from raysafe.sweep.tracked_tables import Table, csv_table, overlap_tables, trial_tables
from raysafe.sweep.trial_record import TrialRecord
from raysafe.sweep.written import write_trial
from raysafe.tracking.base import DESCRIPTION, TABLES, DatasetSpec, EndStatus, ModelSpec, RunSpec, Tracker, link_to
from raysafe.tracking.comparison import views_of
from raysafe.trial import ranked_data

PLOTS = "plots"
"""The folder of a trial's pictures."""


@dataclass(frozen=True)
class SweepEnd:
    """What is left to tell when a sweep ends. `rows`: its trials, those of earlier runs of it too. `used`: whom each job served,
    by name."""

    status: EndStatus
    folder: Path
    rows: Sequence[TrialRow]
    used: Mapping[str, Sequence[str]]


@dataclass
class TrackedRuns:
    """`tracker`: best a backlog, which nobody has to wait for. `log_text`: whether texts of rows and answers are told it.
    `shared`: the runs of shared stages. `ranked`: what each trial ranks, by name."""

    tracker: Tracker
    store: Artifacts
    log_text: bool = False
    ranked: dict[str, DataRef] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shared = StageRuns(self.tracker, self.store)

    @property
    def parent(self) -> str:
        """The sweep's run."""
        return self.shared.parent

    @property
    def titles(self) -> Mapping[str, str]:
        """The trials' titles by name."""
        return self.shared.titles

    def start_sweep(self, sweep: SweepConfig, folder: Path) -> None:
        """The parent of all runs."""
        shared = self.shared
        shared.swept = list(dict.fromkeys(key for plan in sweep.trials for key in plan.swept))
        shared.titles = {plan.name: title_of(plan) for plan in sweep.trials}
        params, said = {"trials": len(sweep.trials)}, sweep.question or f"{len(sweep.trials)} trials."
        tags = {"raysafe.question": sweep.question, DESCRIPTION: said}
        shared.parent = self.tracker.start(RunSpec("sweep", sweep.name, sweep.name, params=params, tags=tags))
        self.tracker.artifact(self.parent, folder / SWEEP)
        self._tell_views(sweep, ())

    def end_sweep(self, sweep: SweepConfig, end: SweepEnd, left: Iterable[str] = ()) -> None:
        """End the parent, with the summary in it, and before it what is `left` of other runs."""
        self.shared.link(end.used)
        for run in left:
            if run != self.parent:
                self.tracker.end(run, "INTERRUPTED")
        self._tell_views(sweep, end.rows)
        for name in (PAGE, SUMMARY, RANKINGS):
            if (end.folder / name).exists():
                self.tracker.artifact(self.parent, end.folder / name, RANKINGS if name == RANKINGS else "")
        said = [sweep.question, how_the_sweep_ended(end.rows, len(sweep.trials))]
        if end.status != "INTERRUPTED" and sweep.tracking.register:
            said.append(self._register_best(sweep, end))
        self.tracker.note(self.parent, {DESCRIPTION: " ".join(filter(None, said))})
        self.tracker.end(self.parent, end.status)

    def _tell_views(self, sweep: SweepConfig, rows: Sequence[TrialRow]) -> None:
        for view in views_of(swept_counts(sweep.trials), headline_metrics(sweep.trials, rows), evaluations(rows)):
            self.tracker.view(view)

    def _register_best(self, sweep: SweepConfig, end: SweepEnd) -> str:
        """Make the best trial's checkpoint a version of the registered model; what is to be said of it."""
        rule, best = sweep.tracking, best_of(end.rows, sweep.tracking)
        if best is None:
            return f"No finished trial has the figure {rule.best}, so that none is registered as {rule.register}."
        run, title = f"trial:{best.trial}", self.titles[best.trial]
        path = (end.folder / "trials" / best.trial / "checkpoint").resolve()
        self.tracker.model(run, ModelSpec(title, str(path), rule.register))
        self.tracker.note(self.parent, {"raysafe.best": f"{title} {{run:{run}}}"})
        order = "highest" if rule.mode == "max" else "lowest"
        return f"{link_to(run, title)} has the {order} {rule.best} and is registered as {rule.register}."

    def rankings(self, folder: Path, trials: Iterable[TrialRecord], pictures: Mapping[str, Path]) -> None:
        """Keep each ranking's picture, given by trial, in the run of the stage that made it and in the trial's; how selections
        overlap, too."""
        for name, picture in pictures.items():
            self.tracker.artifact(f"trial:{name}", picture, PLOTS)
        with extra("How selections overlap"):
            for name, table in overlap_tables(folder, {name: self.titles[name] for name in pictures}).items():
                self._keep(f"trial:{name}", folder / "trials" / name, {"overlap": table})
        with extra("The comparison of rankings"):
            files = {"rankings": folder / RANKINGS / "rankings.csv", "agreement": folder / RANKINGS / "overlap.csv"}
            self._keep(self.parent, folder, {name: csv_table(path) for name, path in files.items() if path.exists()})
        made = {id: pictures[trial.plan.name] for trial in trials for id in self._rank_runs(trial) if trial.plan.name in pictures}
        for id, picture in made.items():
            self.tracker.artifact(self.shared.runs[id], picture)

    def agreement(self, folder: Path) -> None:
        """What judges agree on, where several judged."""
        if (folder / JUDGES_CSV).exists():
            with extra("Agreement between judges"):
                self._keep(self.parent, folder, {"judges": csv_table(folder / JUDGES_CSV)})

    def _keep(self, run: str, folder: Path, tables: Mapping[str, Table]) -> None:
        """Write tables under a folder, and show them in a run."""
        for name, table in tables.items():
            self.tracker.artifact(run, table.write(folder, name), TABLES)
        if tables:
            self.tracker.note(run, {f"raysafe.table.{name}": table.note for name, table in tables.items()})

    def _rank_runs(self, trial: TrialRecord) -> list[str]:
        if trial.plan.config.selection.file is not None:
            return []  # what was selected by is not what the stage made
        return [id for id in trial.jobs.values() if self.store.by_id(id).kind == "rank" and id in self.shared.runs]

    def start_trial(self, trial: TrialRecord, inputs: TrialInputs, at: float) -> None:
        """The trial's run, with its settings, its configuration and what it reads."""
        plan, data = trial.plan, inputs.data()
        if "finetune" in data:
            self.ranked[plan.name] = ranked_data(plan.config, inputs)
        trial.about = what_it_is(plan, data["finetune"].rows if "finetune" in data else None)
        spec = RunSpec(
            "trial", plan.name, title_of(plan), self.parent, trial_params(plan, self.shared.swept), {DESCRIPTION: trial.about}
        )
        trial.run = self.tracker.start(spec, milliseconds(at))
        write_trial(trial.folder, trial.folder.parents[1].name, plan.config, inputs)
        self.tracker.artifact(trial.run, trial.folder / CONFIG)
        for role, ref in data.items():
            self.tracker.dataset(trial.run, DatasetSpec(Path(ref.path).name, ref.path, ref.fingerprint, role, ref.rows))

    def trial_point(self, trial: TrialRecord, point: PointTold) -> None:
        """A point of a trial's training, which the trial has noted. The last one's scores give way to the final ones, which
        stand at the same step: a metric has one value a step."""
        metrics = named(point.metrics, "train")
        if trial.last_epoch:
            metrics = {name: value for name, value in metrics.items() if not name.startswith("eval/")}
        self.tracker.log(trial.run, point.step, metrics, milliseconds(point.at))

    def end_trial(self, trial: TrialRecord, end: TrialEnded) -> None:
        """Final scores and seconds at the last step of training, and what was selected. A failed trial's may still come, on going
        on."""
        if end.status != "FAILED" or trial.result is not None:  # a guard fails a trial that has its scores
            self.tracker.log(trial.run, trial.step, tracked(trial.figures()), milliseconds(end.at))
        for name in ("selection.parquet", "safeinstr.parquet"):
            if (trial.folder / name).exists():
                self.tracker.artifact(trial.run, trial.folder / name)
        if trial.result is not None and trial.result.checkpoint is not None:
            self.tracker.model(trial.run, ModelSpec(title_of(trial.plan), str(trial.result.checkpoint.folder)))
        with extra(f"The tables of {trial.plan.name}"):
            tables = trial_tables(trial, self.ranked.get(trial.plan.name), self.store, self.log_text)
            self._keep(trial.run, trial.folder, tables)
            trial.about_tables = " ".join(f"Table {name}: {table.note}." for name, table in tables.items() if table.cut)
        self.tracker.note(trial.run, self._last_words(trial))
        self.tracker.end(trial.run, end.status, trial.error, milliseconds(end.at))

    def _last_words(self, trial: TrialRecord) -> dict[str, str]:
        """The trial's description, and its stages by label."""
        said, runs, names = [trial.about, how_it_ended(trial)], self.shared.runs, self.shared.names
        stages = {job: label for job, label in trial.asked.items() if job in runs}
        tags: dict[str, str] = {}
        for job, label in stages.items():
            name, told = f"raysafe.stage.{label}", f"{names[job]} {{run:{runs[job]}}}"
            tags[name] = f"{tags[name]}, {told}" if name in tags else told
        evaluation = getattr(trial.result, "evaluation", None)
        tags |= {"raysafe.evaluation": evaluation} if evaluation else {}
        twin = trial.costs.get("same_as")
        if twin:
            tags["raysafe.same_as"] = twin
            said.append(
                f"Its training is that of {link_to(f'trial:{twin}', self.titles.get(twin, twin))}: same rows, same settings."
            )
        if stages:
            said.append(f"Stages: {', '.join(link_to(runs[job], names[job]) for job in stages)}.")
        return {DESCRIPTION: " ".join(filter(None, [*said, trial.about_tables])), **tags}


@contextmanager
def extra(what: str) -> Iterator[None]:
    """What the record can do without: if it can't be made, that is said, and the record goes on."""
    try:
        yield
    except Exception as problem:
        warnings.warn(f"{what} could not be recorded ({type(problem).__name__}: {problem}).", stacklevel=3)
