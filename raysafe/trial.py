"""The corridor: one trial from its configuration to its scores.

    config ─► rank the rows ─► keep the top p % ─► train ─► attack and score ─► record
              Ranking          Selection           Checkpoint   Scores

Every arrow is a stage with a key; a stage whose result is in the store is not run again, whoever made it, so trials that
share a setting share its stages. `launch` is how stages are run: here by a call, on a cluster by a waiting group of workers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from raysafe.artifacts import Artifact, Store, fingerprint
from raysafe.config.trials import TrialConfig
from raysafe.context import local_context
from raysafe.data.references import Admixture, Alignment, DataRef, ModelRef, PlantedRef, drawn
from raysafe.evaluation.metrics import Rate, rates_of
from raysafe.objectives.dpo import Dpo
from raysafe.ranking.diagnosis import DIAGNOSTICS, Diagnosis, Scored, diagnose
from raysafe.ranking.seal_loop import engine_settings
from raysafe.ranking.tables import Ranking, Selection, keep_top, save_rows
from raysafe.selection import Seal
from raysafe.stages.base import Stage
from raysafe.stages.evaluate import EvaluateStage, EvaluationPlan
from raysafe.stages.inputs import TrialInputs, find_inputs
from raysafe.stages.log_probs import LogProbsStage
from raysafe.stages.making import make
from raysafe.stages.rank import RankStage
from raysafe.stages.sandbox import BaseStage
from raysafe.stages.train import TrainStage

Launch = Callable[[Sequence[Stage]], list[Artifact]]
"""Run stages, at once where there is room, and return their results in order. Raises StageError or StageStopped."""


@dataclass(frozen=True)
class TrialResult:
    """What is recorded of a trial. `unsafe_selected`: share of unsafe rows among the kept ones, `ranking_auc`: P(a safe row
    ranks above an unsafe one), both where labels are known; `safeinstr_rows`: trusted rows trained on beside the selected;
    `planted_recall`: share of the planted rows outside the top p %; `dropped_rows`: rows of all streams that training skipped,
    as no label of theirs was left."""

    metrics: dict[str, Rate]
    selected_rows: int
    unsafe_selected: float | None
    ranking_auc: float | None
    checkpoint: Artifact
    safeinstr_rows: int = 0
    planted_recall: float | None = None
    dropped_rows: int = 0


def run_trial(
    trial: TrialConfig, store: Store, folder: Path, launch: Launch | None = None, inputs: TrialInputs | None = None
) -> TrialResult:
    """Walk one trial from end to end; its files go to `folder`.

    Without `launch` the stages run in this process, one after the other; `inputs` are `find_inputs`'s, if already at hand.
    """
    launch = launch or here(store)
    inputs = inputs or find_inputs(trial, store)
    model = base_model(trial, inputs, launch)
    ranker = ranking_model(trial, inputs, model, launch)
    reference, ranking, *frozen = launch([reference_stage(trial, inputs, model), *prior_stages(trial, inputs, model, ranker)])
    selection = select(trial, ranking)
    selection.save(folder / "selection.parquet")
    proxy = frozen_proxy(trial, inputs, model, frozen, launch)
    plan = evaluation_plan(trial, inputs, model, reference)
    stage = train_stage(trial, inputs, model, selection, folder / "selection.parquet", [*frozen[:1], *proxy], plan)
    admixed = stage.admixture
    if admixed is not None:
        save_rows(admixed.examples(), folder / "safeinstr.parquet")
    (checkpoint,) = launch([stage])
    (scores,) = launch([EvaluateStage(trained_model(checkpoint), plan)])
    link(folder / "checkpoint", checkpoint.folder)
    return TrialResult(
        rates_of(scores.result["metrics"]),
        len(selection.rows),
        selection.unsafe_share,
        ranking.result["auc"],
        checkpoint,
        len(admixed.rows) if admixed else 0,
        recall_of(trial, ranking),
        sum(map(len, checkpoint.result["dropped"].values())),
    )


def here(store: Store) -> Launch:
    """Stages as plain calls in this process, on the in-memory engine: for tests and small things."""

    def launch(stages: Sequence[Stage]) -> list[Artifact]:
        return [make(stage, store, local_context()) for stage in stages]

    return launch


def base_model(trial: TrialConfig, inputs: TrialInputs, launch: Launch) -> ModelRef:
    """The model that the trial starts from, made first where it is the sandbox's."""
    return inputs.model or _sandbox_model(trial, launch)


def ranking_model(trial: TrialConfig, inputs: TrialInputs, model: ModelRef, launch: Launch) -> ModelRef:
    """The model that scores the rows: that of `selection.model`, or `model`, the trial's own."""
    if trial.selection.model is None:
        return model
    return inputs.ranker or _sandbox_model(trial, launch)


def _sandbox_model(trial: TrialConfig, launch: Launch) -> ModelRef:
    (base,) = launch([BaseStage(trial.sandbox)])
    return ModelRef(base.key, str(base.folder))


def reference_stage(trial: TrialConfig, inputs: TrialInputs, model: ModelRef) -> EvaluateStage:
    """Scores and answers of the untrained model: what win rate compares with."""
    return EvaluateStage(model, EvaluationPlan(trial.evaluation, inputs.suites))


def rank_stage(trial: TrialConfig, inputs: TrialInputs, ranker: ModelRef) -> RankStage:
    """The ranking, shared by all trials with the same selector settings, seed and ranking model, whatever model they train."""
    seal = trial.selector if isinstance(trial.selector, Seal) else None
    engine = engine_settings(seal, trial.training) if seal else None
    lora = (trial.selection.model or trial.model).lora
    finetune = ranked_data(trial, inputs)
    return RankStage(ranker, lora, trial.selector, engine, finetune, inputs.safe, trial.data.max_length, trial.seed)


def ranked_data(trial: TrialConfig, inputs: TrialInputs) -> DataRef:
    """D, with known-bad rows planted in it where the trial wants them."""
    if not trial.data.plant:
        return inputs.finetune
    assert inputs.align is not None  # checked with the configuration
    d = inputs.finetune
    return PlantedRef(d.fingerprint, d.path, d.harmful_path, align=inputs.align, count=trial.data.plant, seed=trial.seed)


def alignment_of(trial: TrialConfig, inputs: TrialInputs, prefixed: bool) -> Alignment:
    """The alignment rows, with prefixes where the objective wants them."""
    prefix = trial.data.prefix if prefixed else None
    assert inputs.align is not None  # checked with the configuration
    return Alignment(inputs.align, prefix, trial.data.max_length, trial.seed)


def prior_stages(trial: TrialConfig, inputs: TrialInputs, model: ModelRef, ranker: ModelRef) -> list[Stage]:
    """The ranking; then, as far as the objective needs them, the reference's log-probs, and those that pi_dpo is trained with."""
    stages: list[Stage] = [rank_stage(trial, inputs, ranker)]
    if trial.needed_models:
        stages.append(LogProbsStage(model, alignment_of(trial, inputs, trial.objective.prefixed)))
    if "proxy" in trial.needed_models:
        stages.append(LogProbsStage(model, alignment_of(trial, inputs, Dpo.prefixed)))
    return stages


def frozen_proxy(
    trial: TrialConfig, inputs: TrialInputs, model: ModelRef, frozen: Sequence[Artifact], launch: Launch
) -> list[Artifact]:
    """W-DOOR's pi_dpo: trained once with DPO on the alignment rows and the trusted rows, whatever was selected; its log-probs."""
    if "proxy" not in trial.needed_models:
        return []
    reference = frozen[1]
    assert inputs.safe is not None  # checked with the configuration
    stage = TrainStage(
        model=model,
        lora=trial.model.lora,
        objective=Dpo(),
        training=trial.proxy,
        retain=inputs.safe,
        selected=None,
        max_length=trial.data.max_length,
        alignment=alignment_of(trial, inputs, Dpo.prefixed),
        frozen_keys={"reference": reference.key},
        frozen_folders={"reference": str(reference.folder)},
        seed=trial.seed,
    )
    (proxy,) = launch([stage])
    return launch([LogProbsStage(trained_model(proxy), alignment_of(trial, inputs, trial.objective.prefixed))])


def select(trial: TrialConfig, ranking: Artifact) -> Selection:
    """The top p % of the ranking, or what `selection.file` holds."""
    if trial.selection.file is not None and trial.selection.percent is None:
        return Selection.load(Path(trial.selection.file))
    return keep_top(chosen_ranking(trial, ranking), trial.percent)


def chosen_ranking(trial: TrialConfig, ranking: Artifact) -> Ranking:
    """The scores that are selected by: the stage's, or those in `selection.file`."""
    return Ranking.load(Path(trial.selection.file) if trial.selection.file else ranking.folder / "ranking.parquet")


def diagnosis_of(trial: TrialConfig, ranking: Artifact) -> Diagnosis:
    """What is told of the ranking that is selected by."""
    told = ranking.folder / DIAGNOSTICS
    return Diagnosis.load(told) if trial.selection.file is None and told.exists() else diagnose(chosen_ranking(trial, ranking))


def recall_of(trial: TrialConfig, ranking: Artifact) -> float | None:
    """Recall of the planted rows at the trial's p; None where none is in the ranking that is selected by."""
    if trial.selection.file is not None and trial.selection.percent is None:
        return None  # a selection as it is: there is no p to speak of
    return Scored.of(chosen_ranking(trial, ranking)).planted_recall(trial.percent)


def admixture(trial: TrialConfig, inputs: TrialInputs) -> Admixture | None:
    """The trusted rows that the trial is to train on beside the selected ones (SafeInstr)."""
    count = trial.selection.safeinstr
    if not count:
        return None
    assert inputs.safe is not None  # checked with the configuration
    return Admixture(inputs.safe, drawn(len(inputs.safe.examples()), count, trial.seed))


def evaluation_plan(trial: TrialConfig, inputs: TrialInputs, model: ModelRef, reference: Artifact) -> EvaluationPlan:
    """What every model of the trial is scored on, against the reference's answers."""
    return EvaluationPlan(trial.evaluation, inputs.suites, model, str(reference.folder))


def train_stage(
    trial: TrialConfig,
    inputs: TrialInputs,
    model: ModelRef,
    selection: Selection,
    selection_path: Path,
    frozen: Sequence[Artifact],
    plan: EvaluationPlan,
) -> TrainStage:
    """The training of the trial itself."""
    models = dict(zip(("reference", "proxy"), frozen, strict=False))
    return TrainStage(
        model=model,
        lora=trial.model.lora,
        objective=trial.objective,
        training=trial.training,
        retain=inputs.finetune,
        selected=fingerprint(selection.rows),
        max_length=trial.data.max_length,
        alignment=alignment_of(trial, inputs, trial.objective.prefixed) if trial.objective.alignment else None,
        frozen_keys={name: artifact.key for name, artifact in models.items()},
        seed=trial.seed,
        admixture=admixture(trial, inputs),
        selection_path=str(selection_path),
        frozen_folders={name: str(artifact.folder) for name, artifact in models.items()},
        each_epoch=plan if trial.evaluation.each_epoch else None,
    )


def trained_model(checkpoint: Artifact) -> ModelRef:
    """The model that a training stage left."""
    return ModelRef(checkpoint.key, str(checkpoint.folder))


def link(path: Path, target: Path) -> None:
    """`trials/TRIAL/checkpoint` points at the artifact; checkpoints may be large and are shared by equal trials."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target, target_is_directory=True)
