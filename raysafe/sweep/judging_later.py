"""A judge added to a sweep that has ended: stored answers are read and judged, nothing is generated."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from raysafe.artifacts import Artifact, Store, fingerprint
from raysafe.config.reading import parse_yaml, read_yaml
from raysafe.context import Context
from raysafe.errors import ConfigError, DataError, StageError
from raysafe.evaluation.by_prompt import Judged, PromptTable, table_of, table_path
from raysafe.evaluation.exam import judge_of
from raysafe.evaluation.judges import Judge
from raysafe.evaluation.metrics import flat_rates
from raysafe.models.loading import device_here
from raysafe.report.summary import SUMMARY, TrialRow, write_summary
from raysafe.report.table import BASE, ended_rows, rows_of_base
from raysafe.stages.answers import AnswersRef, AnswersStage
from raysafe.stages.making import Here, place_of
from raysafe.stages.verdicts import VerdictsStage, judged
from raysafe.sweep.costs import Costs
from raysafe.sweep.judged import JudgedBesides, judged_besides, with_judged
from raysafe.sweep.places import default_storage
from raysafe.training.engine import PlainEngine

ENDED = ("FINISHED", "STOPPED")
VERDICTS_LABEL = "verdicts"


@dataclass(frozen=True)
class Asked:
    """What a row of the sweep's tables was asked: its answers, the attacks that count, the answers it is compared with. `by`: its
    own judges' verdicts, the first one's figures plain."""

    name: str
    answers: AnswersRef
    attacks: tuple[str, ...]
    reference: AnswersRef | None
    by: tuple[Artifact, ...]


@dataclass(frozen=True)
class RowJudged:
    """A row that was judged: its new figures, its answers, and all verdicts on them, the new ones last."""

    name: str
    figures: Mapping[str, float]
    answers: Artifact
    verdicts: tuple[Artifact, ...]


@dataclass(frozen=True)
class Outcome:
    """What came of judging. `made`: names of rows judged now, `reused`: of those in the store already; `problems`: what could not
    be judged, and why; `notes`: what must be known."""

    judge: Judge
    made: tuple[str, ...]
    reused: tuple[str, ...]
    problems: tuple[str, ...]
    rows: tuple[RowJudged, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def exit_code(self) -> int:
        """0 if every trial that ended was judged."""
        return int(bool(self.problems))


def find_sweep(given: Path, storage: Path | None) -> Path:
    """The folder of a sweep, given as it is or by its name in the storage. Raises DataError."""
    for folder in (given, (storage or default_storage()) / given):
        if (folder / SUMMARY).is_file():
            return folder.absolute()
    raise DataError(f"{given}: no sweep of which a trial has ended is there. Give its folder, STORAGE/NAME, or its name.")


def find_judge(given: str) -> Judge:
    """A judge by its name, by a YAML mapping of `name` and settings, or by a file that holds one. Raises ConfigError."""
    key, problems = "--with", list[str]()
    raw = read_yaml(Path(given)) if given.endswith((".yaml", ".yml")) else parse_yaml(given, key)
    if not isinstance(raw, str | Mapping):
        raise ConfigError(f"{key}: got {given!r}, but it takes a judge's name, or a mapping of `name` and settings.")
    judge = judge_of(raw, key, problems)
    if judge is None or problems:
        raise ConfigError("; ".join(problems) + ".")
    return judge


def judge_later(folder: Path, judge: Judge, store: Store, tell: Callable[[str], None]) -> Outcome:
    """Have a judge decide about all that the sweep's trials, and the models that they started from, have answered.

    Figures go to `summary.csv` and `base.csv`, verdicts to the tables by prompt, and who judged to `judged/`. What can't be
    judged is told as a problem, and the rest goes on. The sweep's lock must be held. Raises ConfigError where the judge's
    figures would mix with others.
    """
    rows = {row.trial: row for row in ended_rows(folder) if row.status in ENDED}
    base = {row.trial: row for row in rows_of_base(folder)}
    problems: list[str] = []
    asked = [*_of_base(base, store, problems), *_of_trials(folder, rows, store, problems)]
    notes = _check_name(folder, asked, judge)
    made, reused, told, figures = list[str](), list[str](), list[RowJudged](), dict[str, dict[str, float]]()
    launch = Here(store, Context(lambda step, metrics: False, device_here()), PlainEngine)
    for place, one in enumerate(asked):
        stage = VerdictsStage(one.answers, judge, one.attacks, one.reference, beside=True)
        there = store.ready(stage.kind, place_of(stage, store).artifact.key)
        tell(f"{one.name}: {'judged already' if there else 'judging'} ({place + 1} of {len(asked)})")
        try:
            done = launch(stage).wait()
        except StageError as problem:
            problems.append(f"{one.name}: {problem}")
            continue
        (reused if there else made).append(one.name)
        figures[one.name] = flat_rates(stage.named(done.result.metrics), with_n=True)
        told.append(
            RowJudged(one.name, figures[one.name], store.artifact(AnswersStage.kind, one.answers.key), (*one.by, done.artifact))
        )
        _keep(folder, one, stage.judged(done.artifact.folder))
    JudgedBesides.of(judge, figures).save(folder)
    _write(folder)
    return Outcome(judge, tuple(made), tuple(reused), tuple(problems), tuple(told), tuple(notes))


def _check_name(folder: Path, asked: Sequence[Asked], judge: Judge) -> list[str]:
    """Figures are told apart by the judge's name alone: what must be said of that. Raises ConfigError."""
    settings = fingerprint(judge)
    for one in asked:
        first, *besides = [artifact.result["judge"] for artifact in one.by]
        if first["settings"] == settings:
            raise ConfigError(
                f"--with: `{judge.name}` with these settings is the judge of {one.name} already: its figures are the plain ones."
            )
        if any(other["name"] == judge.name and other["settings"] != settings for other in besides):
            raise ConfigError(
                f"--with: `{judge.name}` has judged {one.name} with other settings (`evaluation.judges`), and its figures would "
                "be mixed with these. Run the sweep under another name with this judge in its file: all answers are reused."
            )
    before = [one for one in judged_besides(folder) if one.name == judge.name and one.settings != settings]
    return [f"`{one.name}` has judged with other settings before; its figures give way to these." for one in before]


def _of_base(base: Mapping[str, TrialRow], store: Store, problems: list[str]) -> Iterator[Asked]:
    for name in base:
        artifact = store.artifact(VerdictsStage.kind, name.removeprefix("base "))
        found = _asked(name, [artifact], store, problems) if name.startswith("base ") else None
        if found is not None:
            yield found


def _of_trials(folder: Path, rows: Mapping[str, TrialRow], store: Store, problems: list[str]) -> Iterator[Asked]:
    """Trials in order; one that the scheduler stopped was asked nothing at its end, which is no problem."""
    jobs = Costs(folder, store, ()).jobs
    for name, row in rows.items():
        ids = [id for id, job in jobs.items() if job.label == VERDICTS_LABEL and name in job.asked]
        if ids or row.status == "FINISHED":
            found = _asked(name, [store.by_id(id) for id in ids], store, problems)
            if found is not None:
                yield found


def _asked(name: str, verdicts: Sequence[Artifact], store: Store, problems: list[str]) -> Asked | None:
    """What was asked, by the verdicts that are there; where they or the answers are gone that is a problem."""
    known = [one for one in verdicts if store.ready(one.kind, one.key)]
    if not known:
        problems.append(f"{name}: its verdicts are no longer in {store.root}, so that it isn't known what it was asked.")
        return None
    inputs = [one.manifest()["inputs"] for one in known]
    newest = inputs[-1]["answers"]["key"]
    same = [one for one, of in zip(known, inputs, strict=True) if of["answers"]["key"] == newest]
    by = tuple({one.result["judge"]["name"]: one for one in same}.values())  # of a judge's several versions the newest
    refs = [_answers(of, store) for of in (inputs[-1]["answers"], inputs[-1]["reference"])]
    for ref, what in zip(refs, ("answers", "answers that it is compared with"), strict=True):
        if ref is not None and not store.ready(AnswersStage.kind, ref.key):
            problems.append(f"{name}: the {what} are gone ({ref.folder}).")
            return None
    answers, reference = refs
    assert answers is not None
    return Asked(name, answers, tuple(inputs[-1]["attacks"]), reference, by)


def _answers(plain: Mapping[str, Any] | None, store: Store) -> AnswersRef | None:
    return AnswersRef(plain["key"], str(store.artifact(AnswersStage.kind, plain["key"]).folder)) if plain else None


def _keep(folder: Path, one: Asked, said: Judged) -> None:
    """Add the verdicts to the table by prompt, which is made where an earlier version has left none."""
    answers = one.answers.load()
    table = table_of(folder, one.name)
    if table is None:
        own = [judged(by.folder, by.result["judge"]["name"], place == 0) for place, by in enumerate(one.by)]
        table = PromptTable.of(answers, own, one.attacks)
    table.judged_besides(answers, said).save(table_path(folder, one.name))


def _write(folder: Path) -> None:
    """Put the figures into the summaries."""
    summary, base = ended_rows(folder), rows_of_base(folder)
    write_summary(folder / SUMMARY, list(with_judged({row.trial: row for row in summary}, folder).values()))
    if base:
        kept = {row.trial: replace(row, status="FINISHED") for row in base}
        write_summary(folder / BASE, list(with_judged(kept, folder).values()))
