"""`--dry-run`: what a sweep would do, worked out with the corridor's own stages and keys, and nothing run."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from raysafe.artifacts import Store, fingerprint
from raysafe.config.sweeps import opponent_of
from raysafe.config.trials import SweepConfig, TrialConfig
from raysafe.data.overlap import told
from raysafe.data.references import DataRef, ModelRef
from raysafe.evaluation.exam import Exam, exam_of, smoke_test_notes
from raysafe.models.fetched import Say, on_stderr
from raysafe.selection import kept_count
from raysafe.stages.alignment import ALIGNMENT, AlignmentStage
from raysafe.stages.answers import AnswersRef, AnswersStage
from raysafe.stages.base import Launch, R, Stage, Watch
from raysafe.stages.inputs import TrialInputs, find_inputs
from raysafe.stages.making import Finished, place_of
from raysafe.stages.overlaps import overlap_of_all
from raysafe.stages.rank import RankStage
from raysafe.stages.readings import ReadingsStage, readings_stages
from raysafe.stages.references import ReferenceFileStage, plainly_asked
from raysafe.stages.sandbox import BaseStage
from raysafe.stages.train import TrainStage
from raysafe.stages.verdicts import VerdictsStage
from raysafe.sweep.bills import bill_lines
from raysafe.sweep.planned_power import planned_power
from raysafe.trial import Start, begin, begin_reading, frozen_refs, launch_frozen, rank_stage, reference_stage

CHARACTERS_PER_TOKEN = 4.0
FLOPS_PER_PARAMETER = 6.0
"""Forward and backward, per token."""
FORWARD = 1 / 3
"""The share of that which a forward pass alone takes."""
OF_EACH_TRIAL = ("answers", "verdicts")
"""Stages after the training, by label and kind; further judges are not counted."""
FLOPS_OF = {"CPU": 5e10, "GPU": 4e14}
"""What one worker is assumed to sustain: a CPU core, and 40 % of an H100's bf16 peak."""


@dataclass
class Work:
    """Stages by key, and what they cost: (label, optimiser steps, row passes, tokens, tokens times weights of the model)."""

    store: Store
    stages: dict[str, tuple[str, int, int, float, float]] = field(default_factory=dict)
    ready: set[str] = field(default_factory=set)

    def note(self, stage: Stage[R], like: ModelRef | None, steps: int, rows: int, tokens: float) -> Finished[R]:
        """Count a stage once; returns where its result will be. like: a model of the size of one that has yet to be made."""
        made = place_of(stage, self.store)
        artifact = made.artifact
        model: ModelRef | None = getattr(stage, "model", None)
        weights = model_parameters(model) or (model_parameters(like) if model is not None else 0)
        self.stages[artifact.id] = (stage.label, steps, rows, tokens, tokens * weights)
        if self.store.ready(artifact.kind, artifact.key):
            self.ready.add(artifact.id)
        return Finished(made)


def dry_run(sweep: SweepConfig, storage: Path, console: Console, say: Say = on_stderr) -> dict[str, Any]:
    """Print trials, shared stages, resources and estimated cost, and give them as plain values. Reads and checks all data; makes
    only the sandbox's rows, and the folder of a model that is a package or a GGUF file."""
    store = Store(storage)
    work = Work(store)
    own: Counter[str] = Counter()
    paid: list[tuple[TrialConfig, TrialInputs]] = []
    for plan in sweep.trials:
        inputs = find_inputs(plan.config, store, say)
        paid.append((plan.config, inputs))
        own.update(readings=_shared(plan.config, inputs, work))
        steps, rows, tokens = _training(plan.config, inputs)
        own.update(steps=steps, rows=rows, tokens=int(tokens), work=int(tokens) * model_parameters(inputs.model))
    console.print(_trials_table(sweep))
    lines = stage_lines(work, len(sweep.trials), own)
    console.print(_stages_table(lines))
    cost, seconds = _cost_line(sweep, work, own), _measured(sweep, work, own)[0]
    bills = bill_lines(paid)
    first, found = paid[0]
    exam = exam_of(first.evaluation, found.prompts)
    power, notes = planned_power(sweep, exam).lines(), smoke_test_notes(first.model.path, exam.judges)
    shared = overlap_of_all((inputs, trial.data.ngram) for trial, inputs in paid)
    for line in (_resources_line(sweep), cost, *bills, *notes, *power, told(shared, first.data.ngram)):
        console.print(line, highlight=False, soft_wrap=True)
    trials = [{"trial": plan.name, "swept": plan.swept, "seed": plan.config.seed, **plan.axes} for plan in sweep.trials]
    stages = [asdict(line) for line in lines]
    what: dict[str, Any] = {"sweep": sweep.name, "question": sweep.question, "trials": trials, "stages": stages}
    what |= {"resources": sweep.resources, "cost": cost, "paid_judges": bills, "group_seconds": seconds or None}
    return what | {"power": power, "overlap": [asdict(line) for line in shared]}


def _shared(trial: TrialConfig, inputs: TrialInputs, work: Work) -> int:
    """Note what trials share; returns how many stages read the trial's own model."""
    note = _noting(work, inputs)
    start = begin(trial, inputs, note)
    exam = exam_of(trial.evaluation, inputs.prompts)
    reference = AnswersRef.of(note(reference_stage(start, exam)).wait())
    note(VerdictsStage(reference, exam.judges[0], exam.attacks))
    begin_reading(start.model, exam, None, note)
    note(rank_stage(start))
    frozen_refs(start, launch_frozen(start, note), note)
    _note_reference(start, exam, work, note)
    return len(readings_stages(start.model, exam, start.model))


def _noting(work: Work, inputs: TrialInputs) -> Launch:
    """What notes a stage with its cost instead of running it."""

    def note(stage: Stage[R], watch: Watch | None = None) -> Finished[R]:
        return work.note(stage, inputs.model, *_cost(stage, inputs))

    return note


def _note_reference(start: Start, exam: Exam, work: Work, note: Launch) -> None:
    """What win rates compare with where it isn't the untrained model: of another trial the ranking and all after it, whose keys
    aren't known before it is there."""
    if start.inputs.reference is not None:
        note(ReferenceFileStage(plainly_asked(exam.suites), start.inputs.reference))
    opponent = opponent_of(start.trial, [])
    if opponent is None:
        return
    inputs = find_inputs(opponent, work.store)
    noted = _noting(work, inputs)
    walk = begin(opponent, inputs, noted)
    noted(rank_stage(walk))
    frozen_refs(walk, launch_frozen(walk, noted), noted)
    steps, rows, tokens = _training(opponent, inputs)
    key = fingerprint(opponent)
    work.stages[f"train-{key}"] = ("opponent", steps, rows, tokens, tokens * model_parameters(inputs.model))
    work.stages[f"answers-{key}"] = ("reference answers", 0, 0, 0.0, 0.0)


def _cost(stage: Stage[Any], inputs: TrialInputs) -> tuple[int, int, float]:
    """(optimiser steps, row passes, tokens) of a shared stage."""
    if isinstance(stage, RankStage):
        return _rank_cost(stage, inputs)
    if isinstance(stage, TrainStage):
        return _train_cost(stage, size_of(stage.retain).rows, inputs)
    if isinstance(stage, AlignmentStage):
        rows = stage.steps * stage.training.batch_size
        return stage.steps, rows, rows * size_of(stage.rows).mean
    if isinstance(stage, BaseStage | AnswersStage | VerdictsStage | ReadingsStage | ReferenceFileStage) or inputs.align is None:
        return 0, 0, 0.0
    pairs = size_of(inputs.align, triples=True)
    return 0, 2 * pairs.rows, 2 * pairs.tokens * FORWARD


def _rank_cost(stage: RankStage, inputs: TrialInputs) -> tuple[int, int, float]:
    finetune = size_of(inputs.finetune)
    if (learned := stage.selector.learned) is not None:
        assert inputs.safe is not None
        seen = Counter(stream for streams in learned.models().values() for stream in streams)
        steps = learned.epochs * math.ceil(finetune.rows / learned.batch_size)
        passes = learned.epochs * seen["finetune"]
        safe = steps * learned.safe_batch_size * seen["safe"]
        return steps, passes * finetune.rows + safe, passes * finetune.tokens + safe * size_of(inputs.safe).mean
    if "model" in stage.selector.reads:
        return 0, finetune.rows, finetune.tokens * FORWARD
    return 0, 0, 0.0


def _training(trial: TrialConfig, inputs: TrialInputs) -> tuple[int, int, float]:
    kept = kept_count(size_of(inputs.finetune).rows, trial.percent)
    return _train_cost(trial, kept + trial.selection.safeinstr, inputs)


def _train_cost(run: Any, retain: int, inputs: TrialInputs) -> tuple[int, int, float]:
    pairs = size_of(inputs.align, triples=True) if run.objective.alignment and inputs.align else Size(0, 0.0)
    size, streams = run.training.batch_size, len(run.objective.alignment)
    steps = run.training.epochs * math.ceil(max(retain, pairs.rows) / size)
    tokens = steps * size * (size_of(inputs.finetune).mean + streams * pairs.mean / 1.5)
    return steps, steps * size * (1 + streams), tokens


@dataclass(frozen=True)
class Size:
    """Rows of a data file, and its tokens by the number of characters."""

    rows: int
    tokens: float

    @property
    def mean(self) -> float:
        """Tokens a row."""
        return self.tokens / self.rows if self.rows else 0.0


@cache
def size_of(data: DataRef, triples: bool = False) -> Size:
    """Counted once a file, however many trials read it."""
    rows: Sequence[Any] = data.triples() if triples else data.examples()
    return Size(len(rows), sum(map(_characters, rows)) / CHARACTERS_PER_TOKEN)


def _characters(row: Any) -> int:
    texts = [turn.content for turn in row.prompt] + [getattr(row, name, "") for name in ("response", "safe", "harmful")]
    return sum(map(len, texts))


@cache
def model_parameters(model: ModelRef | None) -> int:
    """Number of weights in the model's safetensors, 0 where it is yet to be made or on a hub."""
    if model is None or not Path(model.folder).is_dir():
        return 0
    from safetensors import safe_open

    total = 0
    for path in Path(model.folder).glob("*.safetensors"):
        with safe_open(path, "pt") as weights:
            total += sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return total


def _trials_table(sweep: SweepConfig) -> Table:
    table = Table(title=f"{sweep.name}: {len(sweep.trials)} trials", caption=sweep.question or None)
    keys = list(dict.fromkeys(key for plan in sweep.trials for key in plan.swept))
    axes = list(dict.fromkeys(name for plan in sweep.trials for name in plan.axes))
    for column in ("trial", *keys, *(name.replace("_", " ") for name in axes), "seed"):
        table.add_column(column)
    for plan in sweep.trials:
        seeds = [*(plan.axes.get(name, "") for name in axes), plan.config.seed]
        table.add_row(plan.name, *(str(plan.swept.get(key, "")) for key in keys), *map(str, seeds))
    return table


@dataclass(frozen=True)
class StageLine:
    """A kind of stage in the plan. `there`: how many of its runs are in the store already; None where it isn't known ahead."""

    stage: str
    shared: bool
    runs: int
    there: int | None = None
    steps: int | None = None
    rows: int | None = None


def stage_lines(work: Work, trials: int, own: Counter[str]) -> list[StageLine]:
    """Shared stages by label, then those of each trial."""
    lines = []
    for label in dict.fromkeys(label for label, *_ in work.stages.values()):
        keys = [key for key, value in work.stages.items() if value[0] == label]
        steps, rows = sum(work.stages[key][1] for key in keys), sum(work.stages[key][2] for key in keys)
        lines.append(StageLine(label, True, len(keys), len(work.ready & set(keys)), int(steps), int(rows)))
    lines.append(StageLine("train", False, trials, steps=own["steps"], rows=own["rows"]))
    lines += [StageLine(label, False, trials) for label in OF_EACH_TRIAL]
    return lines + ([StageLine("readings", False, own["readings"])] if own["readings"] else [])


def _stages_table(lines: Sequence[StageLine]) -> Table:
    table = Table(title="stages")
    for column in ("stage", "runs", "there already", "optimiser steps", "row passes"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for line in lines:
        known = (line.there, line.steps, line.rows)
        numbers = ["" if number is None else f"{number:,}" for number in known]
        table.add_row(f"{line.stage} (shared)" if line.shared else line.stage, str(line.runs), *numbers)
    return table


def _resources_line(sweep: SweepConfig) -> str:
    r = sweep.resources
    groups = "as many groups as the cluster holds" if r.groups is None else f"{r.groups} groups"
    gpus = f" and {r.gpus_per_worker} GPU" if r.gpus_per_worker else ""
    return f"resources: {groups}, each {r.workers} worker(s) of {r.cpus_per_worker} CPU{gpus}; scheduler: {sweep.scheduler.name}"


def _cost_line(sweep: SweepConfig, work: Work, own: Counter[str]) -> str:
    ahead = [value for key, value in work.stages.items() if key not in work.ready]
    tokens = own["tokens"] + sum(value[3] for value in ahead)
    products = own["work"] + sum(value[4] for value in ahead)
    seconds, missing = _measured(sweep, work, own)
    text = f"estimated cost: {tokens:,.0f} tokens trained on (at {CHARACTERS_PER_TOKEN:g} characters a token)"
    if products:
        kind = "GPU" if sweep.resources.gpus_per_worker else "CPU"
        hours = products * FLOPS_PER_PARAMETER / FLOPS_OF[kind] / 3600
        mean = products / max(tokens, 1)
        text += f"; {hours:,.2f} {kind}-worker hours for {mean:,.0f} parameters at {FLOPS_OF[kind]:.0e} FLOP/s"
    if seconds:
        rest = f", {missing} kinds of stage not measured yet" if missing else ""
        text += f"; {seconds:,.0f} worker-group seconds by what such stages took in this storage{rest}"
    return text


def _measured(sweep: SweepConfig, work: Work, own: Counter[str]) -> tuple[float, int]:
    """Seconds by the mean of earlier stages of the same kind, and how many kinds have no earlier one. A model that is aligned and
    one that the sandbox makes are two kinds."""
    counts = Counter(
        (work.store.by_id(key).kind, work.stages[key][0] == ALIGNMENT) for key in work.stages if key not in work.ready
    )
    counts.update(dict.fromkeys([("train", False), *((kind, False) for kind in OF_EACH_TRIAL)], len(sweep.trials)))
    counts.update({("readings", False): own["readings"]} if own["readings"] else {})
    seconds, missing = 0.0, 0
    for (kind, aligned), count in counts.items():
        known = [artifact.manifest() for artifact in work.store.all_of(kind)]
        times = [one["seconds"] for one in known if kind != "base" or aligned == ("world" not in one["inputs"])]
        seconds += count * sum(times) / len(times) if times else 0.0
        missing += not times
    return seconds, missing
