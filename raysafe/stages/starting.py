"""What a trial starts from: a model that is there, or one that a stage has yet to make."""

from raysafe.artifacts import Artifact
from raysafe.config.sections import Lora, TrainingSettings
from raysafe.config.trials import TrialConfig
from raysafe.data.references import ModelRef
from raysafe.sandbox.settings import World
from raysafe.stages.alignment import AlignmentStage
from raysafe.stages.base import Launch
from raysafe.stages.inputs import TrialInputs
from raysafe.stages.sandbox import BaseStage
from raysafe.tricks.settings import Tricks


def base_stage(trial: TrialConfig, inputs: TrialInputs) -> BaseStage | AlignmentStage | None:
    """What makes the model that a trial starts from; None where it starts from one that is there."""
    if inputs.model is None:
        return BaseStage(trial.sandbox)
    return alignment_stage(trial, inputs, inputs.model) if trial.model.align else None


def alignment_stage(trial: TrialConfig, inputs: TrialInputs, model: ModelRef) -> AlignmentStage:
    """The alignment of the trial's untouched model, by the settings of its world; the engine's are the trial's."""
    world = trial.tricks
    assert inputs.base is not None  # found with the other inputs
    return AlignmentStage(
        model=model,
        rows=inputs.base,
        lora=Lora(world.base_rank, world.base_alpha, 0.0, world.base_modules),
        steps=world.base_steps,
        training=alignment_settings(world, trial.training),
        max_length=trial.data.max_length,
        seed=world.seed,
        own_tokens=world.base_own_tokens,
    )


def alignment_settings(world: Tricks, training: TrainingSettings) -> TrainingSettings:
    """How a model is aligned: step size, batches and warm-up are the world's; what only says where and in which precision
    it is computed is the trial's."""
    return TrainingSettings(
        epochs=1,
        batch_size=world.base_batch_size,
        lr=world.base_lr,
        warmup_steps=world.base_warmup,
        **training.computing,
    )


def starting_model(trial: TrialConfig, inputs: TrialInputs, launch: Launch) -> ModelRef:
    """The model that a trial starts from, made where it is not there yet."""
    stage = base_stage(trial, inputs)
    if stage is None:
        assert inputs.model is not None  # or there would be a stage
        return inputs.model
    return model_of(launch(stage).wait().artifact)


def sandbox_model(world: World, launch: Launch) -> ModelRef:
    """The model of a world of the sandbox."""
    return model_of(launch(BaseStage(world)).wait().artifact)


def model_of(made: Artifact) -> ModelRef:
    """The model that a stage has left."""
    return ModelRef(made.key, str(made.folder))
