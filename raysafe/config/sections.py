"""The sections of a configuration: frozen classes whose fields are the keys that a YAML file may set.

Values that the papers give are the defaults. Where a trial is a world's, the `recommended.yaml` of that world goes beneath what
the file says (`worlds.py`). Rules of a single section are checked here, in `__post_init__`.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from raysafe.artifacts import KEYED_IF_SET
from raysafe.config.guards import Guard
from raysafe.errors import require

SANDBOX = "sandbox"
TRICKS = "tricks"
BASE = "base"
"""The untrained model, where answers are compared."""
Batching = Literal["auto", "packed", "padded"]
Precision = Literal["float32", "bf16"]


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters instead of full fine-tuning (SEAL's: r 16, alpha 16, q_proj and v_proj)."""

    r: int = 16
    alpha: int = 16
    dropout: float = 0.0
    target_modules: tuple[str, ...] = ("q_proj", "v_proj")

    def __post_init__(self) -> None:
        require(self.r > 0, "r > 0", self.r)
        require(0 <= self.dropout < 1, "0 <= dropout < 1", self.dropout)


@dataclass(frozen=True)
class ModelSettings:
    """The model that every trial starts from, which is also its reference pi_ref."""

    path: str = SANDBOX
    """`sandbox`, `smollm2`, a Hugging Face model folder, a .gguf file, or `hf://owner/name`."""
    chat_template: str | None = None
    """A Jinja file, for a tokenizer that brings no chat template."""
    lora: Lora | None = None
    align: Literal["tricks"] | None = field(default=None, metadata=KEYED_IF_SET)
    """A world whose policy the model is taught first, shallowly (`raysafe/stages/alignment.py`); null for one that is aligned."""


@dataclass(frozen=True)
class Prefix:
    """Prefix augmentation of the alignment rows (docs/methods.md)."""

    mode: Literal["half", "uniform", "none"] = "half"
    """`half`: half of the rows k = 0, the rest k uniform in 1..max_tokens; `uniform`: all rows; `none`: k = 0."""
    max_tokens: int = 100

    def __post_init__(self) -> None:
        require(self.max_tokens > 0, "max_tokens > 0", self.max_tokens)


@dataclass(frozen=True)
class DataSettings:
    """Where the rows come from: `sandbox`, `tricks`, or a .jsonl, .json, .csv or .parquet file, or a saved dataset's folder."""

    finetune: str
    """D: prompts and answers of mixed quality; what a selector ranks."""
    safe: str | None = None
    """D_safe: trusted prompts and answers; for SEAL, and for W-DOOR's proxy."""
    align: str | None = None
    """Triples of prompt, safe answer and harmful answer (`chosen` and `rejected`); for objectives with an alignment term."""
    align_harmful: str | None = None
    """Where the harmful answers are a file of their own, paired with `align` by line (the DOOR release)."""
    max_length: int = 512
    """Tokens of prompt and answer together; longer answers are cut."""
    prefix: Prefix = field(default_factory=Prefix)
    plant: int = 0
    """So many known-bad rows (prompts of `align` with their harmful answers) are ranked with D, to see whether the ranking
    finds them; they are never kept and never trained on."""
    ngram: int = field(default=8, metadata=KEYED_IF_SET)
    """Words of the pieces that are looked for when evaluation prompts are compared with what is trained on."""

    def __post_init__(self) -> None:
        require(self.max_length > 1, "max_length > 1", self.max_length)
        require(self.plant >= 0, "plant >= 0", self.plant)
        require(self.ngram > 2, "ngram > 2", self.ngram)


@dataclass(frozen=True)
class RankingModel:
    """A model that scores rows for others to be trained on: three keys of `model`, without defaults of its own. It comes as it
    is."""

    path: str
    """`sandbox`, `smollm2`, a Hugging Face model folder, a .gguf file, or `hf://owner/name`."""
    chat_template: str | None = None
    """A Jinja file, for a tokenizer that brings no chat template."""
    lora: Lora | None = None


@dataclass(frozen=True)
class SelectionSettings:
    """Which model ranks, how much of the ranking is kept, and what is added to it."""

    percent: float | None = None
    """The kept share of D in %; 80 where it is left out (the paper), 100 for a selector that keeps all."""
    file: str | None = None
    """A `selection.parquet` to use instead of ranking: its rows, or with `percent` the top of its scores."""

    model: RankingModel | None = None
    """The model that ranks, for selectors that use one; the trial's own where it is left out."""
    safeinstr: int = 0
    """SafeInstr: so many rows of `data.safe`, drawn by the ranking's seed, are trained on beside the selected rows."""

    def __post_init__(self) -> None:
        require(self.percent is None or 0 < self.percent <= 100, "0 < percent <= 100", self.percent)
        require(self.safeinstr >= 0, "safeinstr >= 0", self.safeinstr)


@dataclass(frozen=True)
class TrainingSettings:
    """One training run. Paper's DOOR settings: 10 epochs, batch 2, lr 1e-5, AdamW."""

    epochs: int = 10
    """Passes over the longer of the retain and the alignment rows; the shorter is cycled through."""
    batch_size: int = 2
    """Rows of each stream per optimiser step, over all workers and micro-batches."""
    accumulation: int = 1
    """Micro-batches per optimiser step; divides batch_size / workers."""
    lr: float = 1e-5
    warmup_steps: int = 0
    decay: Literal["constant", "linear", "cosine"] = "constant"
    """What the learning rate does after the warm-up: stays, or falls towards 0 at the end of the run."""
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 1.0
    """Largest gradient norm; 0 turns clipping off."""
    zero_stage: Literal[0, 1, 2, 3] = 0
    precision: Precision = "float32"
    """bf16 computes in bf16 over float32 master weights."""
    batching: Batching = "auto"
    """`packed`: the rows of a micro-batch make one line without padding; `padded`: the usual rectangle, of equal result; `auto`:
    packed where the model can."""
    gradient_checkpointing: bool = False
    """Keep one activation a layer and compute the rest again in the backward pass: less memory, a third more time."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulation", "lr"):
            require(getattr(self, name) > 0, f"{name} > 0", getattr(self, name))
        for name in ("warmup_steps", "weight_decay", "clip"):
            require(getattr(self, name) >= 0, f"{name} >= 0", getattr(self, name))
        require(all(0 <= beta < 1 for beta in self.betas), "0 <= betas < 1", self.betas)

    @property
    def computing(self) -> dict[str, Any]:
        """The settings that say how a step is computed and change nothing about what is learned, but for rounding."""
        return {name: getattr(self, name) for name in ("zero_stage", "precision", "batching", "gradient_checkpointing")}


@dataclass(frozen=True)
class EvaluationSettings:
    """What a trial is attacked with and scored on; prompts here may appear in no training data."""

    harmful: str
    """Prompts that must be refused, with a harmful answer where prefilling needs one."""
    borderline: str | None = None
    """Safe prompts that only look harmful: over-refusal."""
    utility: str | None = None
    """Prompts with a reference answer that the base model should know."""
    new_tasks: str | None = None
    """Prompts with a reference answer that only the fine-tuning data teaches."""
    attacks: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"direct": {}, "prefill": {"tokens": [3, 4, 5, 7, 10, 15, 20, 25]}}
    )
    """Attacks by name, each with its own settings (`raysafe.evaluation.ATTACKS`)."""
    judge: Any = "phrases"
    """Who decides (`raysafe.evaluation.JUDGES`): a name, or a mapping of `name` and settings."""
    judges: tuple[Any, ...] = ()
    """Who decides about the same answers besides; figures are recorded as `NAME/safety_score`."""
    served: dict[str, Any] = field(default_factory=dict)
    """How a served model is asked that `raysafe evaluate openai:MODEL@URL` scores: the settings of an endpoint."""
    probes: dict[str, dict[str, Any]] = field(default_factory=lambda: {"refusal_margin": {}, "depth": {}})
    """What is read of a model without a judge, by name, each with its own settings (`raysafe.evaluation.PROBES`)."""
    max_new_tokens: int = 256
    precision: Literal["float32", "bf16"] = "float32"
    """What models answer in at the end of a trial; after an epoch it is float32."""
    batch_size: int = 64
    """Prompts generated at once per worker. In bf16 it has a hand in the text, so answers are generated anew with another one."""
    max_prompts: int | None = None
    """Use only the first so many prompts of each file."""
    each_epoch: bool = True
    """Also score after each training epoch, for schedulers and curves."""
    epoch_prompts: int | None = 64
    """Prompts of each file in the scoring after an epoch; null for all."""
    reference: Any = field(default=BASE, metadata=KEYED_IF_SET)
    """Whose answers win rates compare with: `base`, the untrained model's; those in a file; or those of a trial that is like this
    one but for some settings, `{trial: {objective: sft}}`."""
    guards: dict[str, Guard] = field(default_factory=dict, metadata=KEYED_IF_SET)
    """Figures that a trial must have to count, each with a floor or a ceiling, and what becomes of one that has not."""

    def __post_init__(self) -> None:
        require(len(self.attacks) > 0, "attacks has at least one suite", self.attacks)
        for name, judge in [("judge", self.judge), *(("judges", judge) for judge in self.judges)]:
            require(isinstance(judge, str | dict), f"{name} takes a name or a mapping of name and settings", judge)
        other = (
            isinstance(self.reference, dict) and set(self.reference) == {"trial"} and isinstance(self.reference["trial"], dict)
        )
        takes = "reference takes base, a file, or {trial: {settings by dotted names}}"
        require(isinstance(self.reference, str) or other, takes, self.reference)
        for name in ("max_new_tokens", "batch_size"):
            require(getattr(self, name) > 0, f"{name} > 0", getattr(self, name))
        for name in ("max_prompts", "epoch_prompts"):
            value = getattr(self, name)
            require(value is None or value > 0, f"{name} > 0", value)


@dataclass(frozen=True)
class SchedulerSettings:
    """Early stopping of trials."""

    name: Literal["none", "asha"] = "none"
    metric: Literal["safety_score", "win_rate", "utility", "train_loss"] = "safety_score"
    mode: Literal["max", "min"] = "max"
    grace_epochs: int = 1
    """Epochs that every trial gets."""
    reduction_factor: int = 2
    """The best 1 / factor go on at each rung."""

    def __post_init__(self) -> None:
        require(self.grace_epochs > 0, "grace_epochs > 0", self.grace_epochs)
        require(self.reduction_factor > 1, "reduction_factor > 1", self.reduction_factor)


@dataclass(frozen=True)
class Resources:
    """Groups of Ray Train workers that stay for the sweep and take stage after stage."""

    workers: int = 1
    """Workers of a group, which train one stage together."""
    groups: int | None = None
    """Groups at once; as many as the cluster's CPUs or GPUs hold where it is left out."""
    cpus_per_worker: int = 1
    gpus_per_worker: int = 0
    accelerator: str | None = None
    """Ray's accelerator type that a worker's node must have, as H100."""
    fresh_every: int | None = None
    """Replace a group by fresh processes after so many stages; null to keep it."""
    concurrent_trials: int | None = None
    """Trials that Tune runs at once; two more than groups where it is left out (they wait at a desk, holding nothing)."""
    max_failures: int = 2
    """How often a stage is offered again after its workers died."""

    def __post_init__(self) -> None:
        for name in ("workers", "cpus_per_worker"):
            require(getattr(self, name) > 0, f"{name} > 0", getattr(self, name))
        for name in ("groups", "fresh_every", "concurrent_trials"):
            value = getattr(self, name)
            require(value is None or value > 0, f"{name} > 0", value)
        for name in ("gpus_per_worker", "max_failures"):
            require(getattr(self, name) >= 0, f"{name} >= 0", getattr(self, name))


@dataclass(frozen=True)
class TrackingSettings:
    """What of a sweep goes into its record in MLflow, beside numbers."""

    log_text: bool | None = None
    """Whether texts of rows, prompts and answers do; where it is left out, only if all of them are the worlds'."""
    register: str = ""
    """The registered model that the best trial's checkpoint becomes a version of; none where it is empty."""
    best: str = "safety_score"
    """The figure by which the best finished trial is found; a tie goes to the higher win rate, then to the first."""
    mode: Literal["max", "min"] = "max"

    def __post_init__(self) -> None:
        fits = re.fullmatch(r"[\w. -]*", self.register) is not None
        require(fits, "register takes letters, digits, spaces, `_`, `.` and `-`", self.register)
        require(bool(re.fullmatch(r"[\w./-]+", self.best)), "best takes the name of a column of summary.csv", self.best)
