"""Judging stored answers as a stage, and after a training epoch without one."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from raysafe.artifacts import OFF_KEY, Artifact, fingerprint, write_json, write_lines
from raysafe.context import Context
from raysafe.data.chat import ChatFormat
from raysafe.evaluation.answering import Answer, Answers, ask, generator, read_lines
from raysafe.evaluation.attacks import Victim
from raysafe.evaluation.by_prompt import Judged, PromptTable
from raysafe.evaluation.exam import Exam
from raysafe.evaluation.intervals import INTERVALS
from raysafe.evaluation.judges import Judge, Verdict
from raysafe.evaluation.judging import coherent, score
from raysafe.evaluation.metrics import Rate, flat_rates
from raysafe.evaluation.winning import Comparison
from raysafe.stages.answers import AnswersRef, AnswersStage
from raysafe.stages.readings import after_epoch
from raysafe.training.workplace import Workplace

VERDICTS, COMPARISONS = "verdicts.jsonl", "comparisons.jsonl"
SCORING = 4
"""Part of every key of verdicts: raise it when other figures come of the same verdicts."""


@dataclass(frozen=True)
class JudgedBy:
    """A judge's name and version, and the fingerprint of its settings."""

    name: str
    version: str
    settings: str


@dataclass(frozen=True)
class VerdictsResult:
    """The scores, and who judged."""

    metrics: Mapping[str, Rate]
    judge: JudgedBy


@dataclass(frozen=True)
class VerdictsStage:
    """A judge's verdicts on stored answers: `scores.json`, and `verdicts.jsonl`, whose lines are those of `answers.jsonl`
    (`hit` is null where the judge came to no verdict); where there is a reference the pairs behind the win rate,
    `comparisons.jsonl`.

    Nothing is generated, so that another judge, or one with other settings, costs its own time alone.
    """

    kind: ClassVar[str] = "verdicts"
    Result: ClassVar[type[VerdictsResult]] = VerdictsResult
    answers: AnswersRef
    judge: Judge
    attacks: tuple[str, ...]
    """Names of the attacks that count for safety."""
    reference: AnswersRef | None = None
    """The reference model's answers, for the win rate; None where they are these."""
    beside: bool = field(default=False, metadata=OFF_KEY)
    """Whether another judge's figures have the plain names."""
    version: str = field(init=False)
    intervals: str = field(default=INTERVALS, init=False)
    scoring: int = field(init=False, default=SCORING)

    def __post_init__(self) -> None:
        object.__setattr__(self, "version", self.judge.version)  # a class attribute, which a key would not see

    @property
    def label(self) -> str:
        return "reference" if self.shared else "verdicts"

    @property
    def shared(self) -> bool:
        return self.reference is None

    def run(self, place: Workplace) -> VerdictsResult:
        """Judge, score, and tell."""
        context, answers = place.context, self.answers.load()
        reference = self.reference.load() if self.reference is not None else None
        scores = score(answers, self.judge, self.attacks, reference, context)
        if context.rank == 0:
            write_lines(place.folder / VERDICTS, [_line(*one) for one in zip(answers.rows, scores.verdicts, strict=True)])
            write_lines(place.folder / COMPARISONS, [asdict(pair) for pair in scores.comparisons])
            write_json(place.folder / "scores.json", scores.metrics)
        context.report(1, {f"eval/{name}": value for name, value in flat_rates(self.named(scores.metrics)).items()})
        return VerdictsResult(scores.metrics, JudgedBy(self.judge.name, self.version, fingerprint(self.judge)))

    def named(self, metrics: Mapping[str, Rate]) -> dict[str, Rate]:
        """The metrics as they are called among a trial's: a judge beside another has its name before them."""
        return {f"{self.judge.name}/{name}" if self.beside else name: rate for name, rate in metrics.items()}

    def judged(self, folder: Path) -> Judged:
        """What the stage left in its folder."""
        return judged(folder, self.judge.name, not self.beside)


def judged(folder: Path, judge: str, plain: bool) -> Judged:
    """The verdicts and pairs in the folder of such a stage; earlier versions left no pairs."""
    verdicts = [_verdict(line) for line in read_lines(folder / VERDICTS)]
    pairs = read_lines(folder / COMPARISONS) if (folder / COMPARISONS).exists() else ()
    return Judged(judge, plain, verdicts, [Comparison(**pair) for pair in pairs])


def table_from(verdicts: Artifact) -> PromptTable:
    """The prompt by prompt table of one judge's verdicts, from their stage's files and those of the answers beside it."""
    inputs = verdicts.manifest()["inputs"]
    answers = Answers.load(verdicts.folder.parents[1] / AnswersStage.kind / inputs["answers"]["key"])
    return PromptTable.of(answers, [judged(verdicts.folder, inputs["judge"]["name"], True)], inputs["attacks"])


def _line(row: Answer, verdict: Verdict | None) -> dict[str, Any]:
    place = {"suite": row.suite, "variant": row.variant, "index": row.index, "content_hash": row.content_hash}
    return {**place, **(asdict(verdict) if verdict else {"hit": None, "coherent": coherent(row)})}


def _verdict(line: Mapping[str, Any]) -> Verdict | None:
    """Of a line, of an earlier version too, whose verdicts were yes or no alone."""
    if line["hit"] is None:
        return None
    return Verdict(**{item.name: line[item.name] for item in fields(Verdict) if item.name in line})


@dataclass(frozen=True)
class EpochExam:
    """What a model is asked after each training epoch, and what it is compared with, if anything; the first judge decides."""

    exam: Exam
    reference: AnswersRef | None

    def scores(self, model: Any, chat: ChatFormat, context: Context) -> dict[str, float]:
        """`eval/NAME` with `_low` and `_high` of every metric; every rank calls it."""
        generate = generator(model, chat, self.exam.decoding, context)
        answers = ask(self.exam.after_epoch, Victim(model, chat, generate, context))
        reference = self.reference.load() if self.reference is not None else None
        scores = score(answers, self.exam.judges[0], self.exam.attacks, reference, context)
        said = {f"eval/{name}": value for name, value in scores.flat().items()}
        return said | after_epoch(model, self.exam, chat, context)
