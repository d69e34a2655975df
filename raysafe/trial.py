"""The corridor: one trial from its configuration to its scores.

    config ─► rank the rows ─► keep the top p % ─► train ─► answer ─► judge ─► record
              Ranking          Selection           Checkpoint  Answers   Scores

Every arrow is a stage with a key; a stage whose result is in the store is not run again, whoever made it, so trials that
share a setting share its stages. `launch` is how stages are run: here by a call, on a cluster by a waiting group of workers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from raysafe.artifacts import Artifact, Artifacts, fingerprint
from raysafe.config.sections import TrainingSettings
from raysafe.config.sweeps import opponent_of
from raysafe.config.trials import TrialConfig
from raysafe.context import local_context
from raysafe.data.references import Admixture, Alignment, DataRef, LogProbsRef, ModelRef, PlantedRef, SelectionRef, drawn
from raysafe.evaluation.by_prompt import TABLE, PromptTable
from raysafe.evaluation.exam import Exam, exam_of
from raysafe.evaluation.guards import Broken, Watch, broken_by
from raysafe.evaluation.metrics import Rate, flat_rates
from raysafe.objectives.base import FrozenModel
from raysafe.objectives.dpo import Dpo
from raysafe.ranking.diagnosis import DIAGNOSIS_FILE, Diagnosis, RankingTensors, diagnose
from raysafe.ranking.learning import engine_settings
from raysafe.ranking.selecting import SELECTION_FILE, Choice, keep_rows, selected
from raysafe.ranking.tables import Selection, save_rows
from raysafe.stages.answers import AnswersRef, AnswersStage
from raysafe.stages.base import Launch, Made, Pending
from raysafe.stages.inputs import TrialInputs, find_inputs
from raysafe.stages.log_probs import LogProbsResult, LogProbsStage
from raysafe.stages.making import Here
from raysafe.stages.rank import RankResult, RankStage
from raysafe.stages.readings import ReadingsResult, readings_stages, rows_read
from raysafe.stages.references import ReferenceFileStage, plainly_asked
from raysafe.stages.starting import model_of, sandbox_model, starting_model
from raysafe.stages.train import TrainResult, TrainStage
from raysafe.stages.verdicts import EpochExam, VerdictsStage
from raysafe.training.engine import PlainEngine


@dataclass(frozen=True)
class TrialResult:
    """What is recorded of a trial. `unsafe_selected`: share of unsafe rows among the kept ones, `ranking_auc`: P(a safe row
    ranks above an unsafe one), both where labels are known; `safeinstr_rows`: trusted rows trained on beside the selected;
    `planted_recall`: share of the planted rows outside the top p %; `dropped_rows`: those of all streams that training
    skipped, without a label left; `batching`: packed or padded, as the model could; `evaluation`: `Exam.fingerprint`."""

    metrics: Mapping[str, Rate]
    selected_rows: int
    unsafe_selected: float | None
    ranking_auc: float | None
    checkpoint: Artifact
    safeinstr_rows: int = 0
    planted_recall: float | None = None
    dropped_rows: int = 0
    batching: str = ""
    evaluation: str | None = None
    broken: tuple[Broken, ...] = ()  # guards: the trial has failed or is stopped, and keeps what it has made


@dataclass(frozen=True)
class Start:
    """What a trial starts from: its configuration, its data, the model that is trained, and the one that ranks."""

    trial: TrialConfig
    inputs: TrialInputs
    model: ModelRef
    ranker: ModelRef


def run_trial(
    trial: TrialConfig, store: Artifacts, folder: Path, launch: Launch | None = None, inputs: TrialInputs | None = None
) -> TrialResult:
    """Walk one trial from end to end; its files go to `folder`.

    Without `launch` the stages run in this process, one after the other; `inputs` are `find_inputs`'s, if already at hand. Raises
    GuardStopped if a guard stops it after an epoch; those that its scores break are in the result.
    """
    launch = launch or here(store)
    start = begin(trial, inputs or find_inputs(trial, store), launch)
    exam = exam_of(trial.evaluation, start.inputs.prompts, start.inputs.reference)
    asked = launch(reference_stage(start, exam))
    untrained = begin_reading(start.model, exam, None, launch)
    ranking = launch(rank_stage(start))
    frozen = launch_frozen(start, launch)
    ranked = ranking.wait()
    choice = choice_of(trial, ranked)
    selection = keep_rows(choice, store, folder)
    kept = SelectionRef(fingerprint(selection.rows), str(folder / SELECTION_FILE))
    untrained_answers = AnswersRef.of(asked.wait())
    base = launch(VerdictsStage(untrained_answers, exam.judges[0], exam.attacks))
    reference = other_reference(start, exam, store, launch) or untrained_answers
    each_epoch = EpochExam(exam, reference) if trial.evaluation.each_epoch else None
    stage = train_stage(start, kept, frozen_refs(start, frozen, launch), each_epoch)
    if stage.admixture is not None:
        save_rows(stage.admixture.examples(), folder / "safeinstr.parquet")
    base.wait()
    for job in untrained:
        job.wait()
    watch = Watch.of(trial.evaluation.guards)
    trained = (launch(stage, watch) if watch else launch(stage)).wait()
    reads = begin_reading(trained_model(trained), exam, start.model, launch)
    examined = with_readings(examine(trained_model(trained), exam, reference, launch), reads)
    examined.table.save(folder / TABLE)
    link(folder / "checkpoint", trained.artifact.folder)
    return TrialResult(
        metrics=examined.metrics,
        selected_rows=len(selection.rows),
        unsafe_selected=selection.unsafe_share,
        ranking_auc=ranked.result.auc,
        checkpoint=trained.artifact,
        safeinstr_rows=len(stage.admixture.rows) if stage.admixture else 0,
        planted_recall=recall_of(choice),
        dropped_rows=sum(map(len, trained.result.dropped.values())),
        batching=trained.result.batching,
        evaluation=exam.fingerprint,
        broken=broken_by(trial.evaluation.guards, flat_rates(examined.metrics)),
    )


def here(store: Artifacts) -> Launch:
    """Stages as plain calls in this process, on the in-memory engine: for tests and small things."""
    return Here(store, local_context(), PlainEngine)


def begin(trial: TrialConfig, inputs: TrialInputs, launch: Launch) -> Start:
    """The trial with its models, made first where they are not there yet; one that only ranks is taken as it comes."""
    model = starting_model(trial, inputs, launch)
    if trial.selection.model is None:
        return Start(trial, inputs, model, model)
    return Start(trial, inputs, model, inputs.ranker or sandbox_model(trial.sandbox, launch))


def reference_stage(start: Start, exam: Exam) -> AnswersStage:
    """Answers of the untrained model: what win rates compare with."""
    return AnswersStage(start.model, exam.suites, exam.decoding, shared=True)


def other_reference(start: Start, exam: Exam, store: Artifacts, launch: Launch) -> AnswersRef | None:
    """What win rates compare with where it isn't the untrained model: a file's answers, or those of another trial."""
    if start.inputs.reference is not None:
        return AnswersRef.of(launch(ReferenceFileStage(plainly_asked(exam.suites), start.inputs.reference)).wait())
    opponent = opponent_of(start.trial, [])
    return opponent_answers(begin(opponent, find_inputs(opponent, store), launch), exam, store, launch) if opponent else None


def opponent_answers(start: Start, exam: Exam, store: Artifacts, launch: Launch) -> AnswersRef:
    """Walk a trial to its answers to another's exam, by the same stages, so that an equal trial of the sweep shares them all."""
    ranked = launch(rank_stage(start)).wait()
    selection = selected(choice_of(start.trial, ranked), store).folder / SELECTION_FILE
    kept = SelectionRef(fingerprint(Selection.load(selection).rows), str(selection))
    each_epoch = EpochExam(exam, None) if start.trial.evaluation.each_epoch else None
    stage = train_stage(start, kept, frozen_refs(start, launch_frozen(start, launch), launch), each_epoch)
    trained = launch(replace(stage, opponent=True)).wait()
    return AnswersRef.of(launch(AnswersStage(trained_model(trained), exam.suites, exam.decoding, shared=True)).wait())


@dataclass(frozen=True)
class Examined:
    """What came of asking a model everything: its figures, and prompt by prompt what is behind them."""

    metrics: dict[str, Rate]
    table: PromptTable


def examine(model: ModelRef, exam: Exam, reference: AnswersRef, launch: Launch) -> Examined:
    """Ask a model everything and have its answers judged."""
    return judge_all(AnswersRef.of(launch(AnswersStage(model, exam.suites, exam.decoding)).wait()), exam, reference, launch)


def judge_all(answers: AnswersRef, exam: Exam, reference: AnswersRef, launch: Launch) -> Examined:
    """Have a model's answers judged; the figures of judges beside the first begin with `NAME/`."""
    stages = [VerdictsStage(answers, judge, exam.attacks, reference, beside=place > 0) for place, judge in enumerate(exam.judges)]
    jobs = [(stage, launch(stage)) for stage in stages]
    made = [(stage, job.wait()) for stage, job in jobs]
    metrics = {name: rate for stage, one in made for name, rate in stage.named(one.result.metrics).items()}
    judged = [stage.judged(one.artifact.folder) for stage, one in made]
    return Examined(metrics, PromptTable.of(answers.load(), judged, exam.attacks))


def begin_reading(model: ModelRef, exam: Exam, base: ModelRef | None, launch: Launch) -> list[Pending[ReadingsResult]]:
    """Begin to read a model; `base`: what it was trained from, None for that model itself."""
    return [launch(stage) for stage in readings_stages(model, exam, base)]


def with_readings(examined: Examined, jobs: Sequence[Pending[ReadingsResult]]) -> Examined:
    """What came of asking a model, and what was read of it besides."""
    made = [job.wait() for job in jobs]
    metrics = {name: rate for one in made for name, rate in one.result.metrics.items()}
    rows = [row for one in made for row in rows_read(one.artifact.folder)]
    return Examined(examined.metrics | metrics, examined.table.with_rows(rows))


def rank_stage(start: Start) -> RankStage:
    """The ranking, shared by all trials with the same selector settings, seed and ranking model, whatever model they train."""
    trial, inputs = start.trial, start.inputs
    learned = trial.selector.learned
    return RankStage(
        model=start.ranker,
        lora=(trial.selection.model or trial.model).lora,
        selector=trial.selector,
        engine=engine_settings(learned, trial.training) if learned else None,
        finetune=ranked_data(trial, inputs),
        safe=inputs.safe,
        max_length=trial.data.max_length,
        seed=trial.ranks_by,
    )


def ranked_data(trial: TrialConfig, inputs: TrialInputs) -> DataRef:
    """D, with known-bad rows planted in it where the trial wants them."""
    if not trial.data.plant:
        return inputs.finetune
    assert inputs.align is not None  # checked with the configuration
    d = inputs.finetune
    count, seed = trial.data.plant, trial.ranks_by
    return PlantedRef(d.fingerprint, d.path, d.harmful_path, d.rows, align=inputs.align, count=count, seed=seed)


def alignment_of(start: Start, prefixed: bool) -> Alignment:
    """The alignment rows, with prefixes where the objective wants them."""
    data = start.trial.data
    assert start.inputs.align is not None  # checked with the configuration
    return Alignment(start.inputs.align, data.prefix if prefixed else None, data.max_length, start.trial.seed)


@dataclass(frozen=True)
class FrozenJobs:
    """The reference's log-probs on their way: on the trial's alignment rows, and on those that pi_dpo is trained with."""

    trial: Pending[LogProbsResult] | None
    proxy: Pending[LogProbsResult] | None


def launch_frozen(start: Start, launch: Launch) -> FrozenJobs:
    """Begin whatever the objective needs of the reference."""
    needed, prefixed = start.trial.needed_models, start.trial.objective.prefixed
    return FrozenJobs(
        launch(log_probs_stage(start, start.model, prefixed, start.trial.training)) if needed else None,
        launch(log_probs_stage(start, start.model, Dpo.prefixed, start.trial.proxy)) if "proxy" in needed else None,
    )


def frozen_refs(start: Start, jobs: FrozenJobs, launch: Launch) -> dict[FrozenModel, LogProbsRef]:
    """The stored log-probs of every frozen model that the objective reads; W-DOOR's proxy is trained for them first."""
    refs: dict[FrozenModel, LogProbsRef] = {}
    if jobs.trial is not None:
        refs["reference"] = stored(jobs.trial.wait())
    if jobs.proxy is not None:
        proxy = launch(proxy_stage(start, stored(jobs.proxy.wait()))).wait()
        stage = log_probs_stage(start, trained_model(proxy), start.trial.objective.prefixed, start.trial.training)
        refs["proxy"] = stored(launch(stage).wait())
    return refs


def log_probs_stage(start: Start, model: ModelRef, prefixed: bool, training: TrainingSettings) -> LogProbsStage:
    """Log-probs of a frozen model, in the precision and on the path of the training that compares itself with them."""
    return LogProbsStage(model, alignment_of(start, prefixed), training.precision, training.batching)


def proxy_stage(start: Start, reference: LogProbsRef) -> TrainStage:
    """W-DOOR's pi_dpo: trained once with DPO on the alignment rows and the trusted rows, whatever was selected."""
    trial, safe = start.trial, start.inputs.safe
    assert safe is not None  # checked with the configuration
    return TrainStage(
        model=start.model,
        lora=trial.model.lora,
        objective=Dpo(),
        training=trial.proxy,
        retain=safe,
        selection=None,
        max_length=trial.data.max_length,
        alignment=alignment_of(start, Dpo.prefixed),
        frozen={"reference": reference},
        seed=trial.seed,
    )


def stored(made: Made[LogProbsResult]) -> LogProbsRef:
    """A frozen model's log-probs, as a training refers to them."""
    return LogProbsRef(made.artifact.key, str(made.artifact.folder))


def choice_of(trial: TrialConfig, ranking: Made[RankResult]) -> Choice:
    """The top p % of the ranking, or what `selection.file` holds."""
    if trial.selection.file is not None:
        return Choice.of_file(Path(trial.selection.file), trial.selection.percent)
    return Choice.of_ranking(ranking.artifact, trial.percent)


def diagnosis_of(trial: TrialConfig, ranking: Made[RankResult]) -> Diagnosis:
    """What is told of the ranking that is selected by."""
    if trial.selection.file is not None:
        return diagnose(choice_of(trial, ranking).ranking())
    return Diagnosis.load(ranking.artifact.folder / DIAGNOSIS_FILE)


def recall_of(choice: Choice) -> float | None:
    """Recall of the planted rows at the choice's p; None where none is in the ranking, or there is no p to speak of."""
    return None if choice.percent is None else RankingTensors.of(choice.ranking()).planted_recall(choice.percent)


def admixture(start: Start) -> Admixture | None:
    """The trusted rows that the trial is to train on beside the selected ones (SafeInstr)."""
    count, safe = start.trial.selection.safeinstr, start.inputs.safe
    if not count:
        return None
    assert safe is not None  # checked with the configuration
    return Admixture(safe, drawn(len(safe.examples()), count, start.trial.ranks_by))


def train_stage(
    start: Start, selection: SelectionRef, frozen: Mapping[FrozenModel, LogProbsRef], each_epoch: EpochExam | None
) -> TrainStage:
    """The training of the trial itself."""
    trial = start.trial
    return TrainStage(
        model=start.model,
        lora=trial.model.lora,
        objective=trial.objective,
        training=trial.training,
        retain=start.inputs.finetune,
        selection=selection,
        max_length=trial.data.max_length,
        alignment=alignment_of(start, trial.objective.prefixed) if trial.objective.alignment else None,
        frozen=frozen,
        seed=trial.seed,
        admixture=admixture(start),
        each_epoch=each_epoch,
    )


def trained_model(trained: Made[TrainResult]) -> ModelRef:
    """The model that a training stage left."""
    return model_of(trained.artifact)


def link(path: Path, target: Path) -> None:
    """`trials/TRIAL/checkpoint` points at the artifact; checkpoints may be large and are shared by equal trials."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target, target_is_directory=True)
