"""Reading a model without generating anything or asking a judge, as a stage, and after a training epoch without one."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch

from raysafe.artifacts import OFF_KEY, write_json, write_lines
from raysafe.config.sections import Precision
from raysafe.context import Context
from raysafe.data.chat import ChatFormat
from raysafe.data.records import EvalPrompt
from raysafe.data.references import DataRef, ModelRef
from raysafe.evaluation.answering import read_lines
from raysafe.evaluation.exam import Exam
from raysafe.evaluation.intervals import INTERVALS
from raysafe.evaluation.metrics import Rate, flat_rates
from raysafe.evaluation.probes import Probe, Reading, Subject
from raysafe.evaluation.roles import HARMFUL
from raysafe.models.folders import adapted_model
from raysafe.models.loading import freeze, load_model
from raysafe.models.policy import Policy, lent
from raysafe.training.workplace import Workplace

READINGS = "readings.json"
VALUES = "readings.jsonl"
WITHOUT_HARMFUL = "no row of `evaluation.harmful` has a `harmful` answer to read it at"


@dataclass(frozen=True)
class ReadingsResult:
    """The figures; why a probe was left out, by its name; facts that belong to the figures."""

    metrics: Mapping[str, Rate]
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ReadingsStage:
    """What probes read of a model: `readings.json`, the figures, and `readings.jsonl`, the value at every prompt."""

    kind: ClassVar[str] = "readings"
    Result: ClassVar[type[ReadingsResult]] = ReadingsResult
    model: ModelRef
    probes: tuple[Probe, ...]
    harmful: DataRef | None
    """The prompts; None where no probe reads at them."""
    precision: Precision
    max_prompts: int | None = None
    base: ModelRef | None = None
    """The model that it was trained from; None where no probe compares with it."""
    versions: tuple[str, ...] = field(init=False)
    """Of the probes and of the intervals."""
    shared: bool = field(default=False, metadata=OFF_KEY)

    def __post_init__(self) -> None:
        versions = (*(probe.version for probe in self.probes), INTERVALS)  # no fields of theirs, so that no key would see them
        object.__setattr__(self, "versions", versions)

    @property
    def label(self) -> str:
        return "base readings" if self.shared else "readings"

    def run(self, place: Workplace) -> ReadingsResult:
        """Load the model, and the base where a probe compares with it, and read."""
        context, folder = place.context, place.folder
        rows = readable(self.harmful.prompts()[: self.max_prompts]) if self.harmful is not None else []
        left_out = {probe.name: WITHOUT_HARMFUL for probe in self.probes if probe.needs_harmful and not rows}
        probes = [probe for probe in self.probes if probe.name not in left_out]
        found = self._read(probes, rows, context) if probes else {}
        rates = {name: rate for one in found.values() for name, rate in one.rates.items()}
        notes = {name: text for one in found.values() for name, text in one.notes.items()}
        result = ReadingsResult(rates, left_out, notes)
        if context.rank == 0:
            write_json(folder / READINGS, result)
            lines = [{"figure": probe.figure, **asdict(value)} for probe in probes for value in found[probe.name].values]
            write_lines(folder / VALUES, lines)
            for name, why in left_out.items():
                logging.getLogger(__name__).warning("The reading %s is left out: %s.", name, why)
        context.report(1, told(rates))
        return result

    def _read(self, probes: Sequence[Probe], rows: Sequence[EvalPrompt], context: Context) -> dict[str, Reading]:
        policy = self._policy(self.model, context)
        subject = Subject(policy, self.model.chat(), rows, context, self._base(policy, context))
        return {probe.name: probe.read(subject) for probe in probes}

    def _policy(self, model: ModelRef, context: Context) -> Policy:
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        return Policy(freeze(load_model(model.folder, dtype))).to(context.device)

    def _base(self, policy: Policy, context: Context) -> Callable[[], AbstractContextManager[Policy]] | None:
        """What opens the base: the model without its adapters where it has them on the base itself, else a second model."""
        if self.base is None:
            return None
        if adapted_model(Path(self.model.folder)) == self.base.folder:
            return lambda: _without_adapters(policy)
        base = self._policy(self.base, context)
        return lambda: nullcontext(base)


@contextmanager
def _without_adapters(policy: Policy) -> Iterator[Policy]:
    with policy.model.disable_adapter():
        yield policy


def readings_stages(model: ModelRef, exam: Exam, base: ModelRef | None) -> list[ReadingsStage]:
    """The stages that read a model as the exam says: one of all quick probes, and one of each that takes long. `base`: what the
    model was trained from; None for that model itself, of which probes that compare with it tell nothing."""
    probes = [probe for probe in exam.probes if base is not None or not probe.needs_base]
    together = tuple(probe for probe in probes if not probe.alone)
    asked, made = exam.plainly, []
    for group in [together, *((probe,) for probe in probes if probe.alone)]:
        against = base if any(probe.needs_base for probe in group) else None
        at, most = (asked.data, asked.max_prompts) if any(probe.needs_harmful for probe in group) else (None, None)
        stage = ReadingsStage(model, group, at, exam.decoding.precision, most, against, shared=base is None)
        made += [stage] if group else []
    return made


def rows_read(folder: Path) -> list[dict[str, Any]]:
    """The values of a stage's folder as rows of the table by prompt, of no judge: `score` is the value."""
    rows = []
    for line in read_lines(folder / VALUES):
        place = {name: line[name] for name in ("variant", "source", "index", "content_hash")}
        role = "utility" if line["source"] else HARMFUL.name
        rows.append({"judge": "", "suite": line["figure"], "role": role, "score": line["value"], **place})
    return rows


def readable(prompts: Sequence[EvalPrompt]) -> list[EvalPrompt]:
    """Those that have a harmful answer."""
    return [row for row in prompts if row.harmful]


def told(rates: Mapping[str, Rate]) -> dict[str, float]:
    """`eval/NAME` with `_low` and `_high` of every figure."""
    return {f"eval/{name}": value for name, value in flat_rates(rates).items()}


def after_epoch(model: Any, exam: Exam, chat: ChatFormat, context: Context) -> dict[str, float]:
    """What the probes that are quick enough read of a model in training; every rank calls it."""
    probes = [probe for probe in exam.probes if probe.each_epoch]
    rows = readable(exam.plainly.shortened(exam.epoch_prompts).prompts()) if probes else []
    if not rows:
        return {}
    with lent(model) as policy:
        subject = Subject(policy, chat, rows, context)
        return told({name: rate for probe in probes for name, rate in probe.read(subject).rates.items()})
