"""What a trial works on, found and checked before anything starts: model, data files, attacks, judge, selection file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from raysafe.artifacts import FORMAT, Artifacts, fingerprint, plain
from raysafe.config.sections import BASE, SANDBOX, ModelSettings, RankingModel
from raysafe.config.trials import TrialConfig
from raysafe.config.worlds import AnyWorld, generate, write
from raysafe.data.loading import check_overlap, load_eval_prompts, load_examples, load_triples
from raysafe.data.overlap import check_normalised
from raysafe.data.records import EvalPrompt, Row, dataset_fingerprint
from raysafe.data.references import DataRef, HalvesRef, ModelRef, labels_of
from raysafe.data.sources import stamp
from raysafe.errors import ConfigError, DataError
from raysafe.evaluation.exam import Exam, exam_of
from raysafe.evaluation.roles import FILES, ROLES
from raysafe.models.fetched import Say, on_stderr, untouched
from raysafe.models.fit import model_facts
from raysafe.models.folders import HUB, adapted_model, check_model_folder, folder_fingerprint
from raysafe.ranking.tables import Selection
from raysafe.sandbox.settings import World
from raysafe.stages.checks import check_labels, check_models
from raysafe.stages.references import check_reference

_WORLD_FILES = {
    "finetune": "finetune",
    "safe": "safe",
    "align": "align",
    "harmful": "eval_harmful",
    "borderline": "eval_borderline",
    "utility": "eval_known",
    "new_tasks": "eval_new",
}


@dataclass(frozen=True)
class TrialInputs:
    """References to what a trial reads. `model` is the one of `model.path`, not aligned yet where it is to be; None for the
    sandbox's, which a stage has yet to make. `ranker` is that of `selection.model`, None without one and for the sandbox's."""

    model: ModelRef | None
    finetune: DataRef
    safe: DataRef | None
    align: DataRef | None
    prompts: Mapping[str, DataRef]
    ranker: ModelRef | None = None
    scripts: Mapping[str, DataRef] = field(default_factory=dict)
    """What attacks bring themselves, as `evaluation.attacks.NAME`."""
    reference: DataRef | None = None
    """The answers that win rates compare with, where they are in a file."""
    base: DataRef | None = None
    """Rows that align `model` before any trial (`model.align`)."""

    def trained(self) -> dict[str, list[Row]]:
        """Rows of what may be trained on, by role."""
        rows: dict[str, list[Row]] = {"finetune": list(self.finetune.examples())}
        if self.safe is not None:
            rows["safe"] = list(self.safe.examples())
        if self.align is not None:
            rows["align"] = list(self.align.triples())
        if self.base is not None:
            rows["model.align"] = list(self.base.examples())
        return rows

    def asked(self) -> dict[str, list[EvalPrompt]]:
        """Prompts of the evaluation, an attack's own among them."""
        return {name: data.prompts() for name, data in {**self.prompts, **self.scripts}.items()}

    def data(self) -> dict[str, DataRef]:
        """Every dataset by its role."""
        roles = {"finetune": self.finetune, "safe": self.safe, "align": self.align, **self.prompts, **self.scripts}
        roles["evaluation.reference"] = self.reference
        return {role: data for role, data in roles.items() if data is not None}


def find_inputs(trial: TrialConfig, store: Artifacts, say: Say = on_stderr) -> TrialInputs:
    """Read and check everything that the trial names. Raises ConfigError or DataError, naming key or file and line.

    A world's rows are written into the store on first use, and so is a model that has to be fetched or converted; `say` is told
    before.
    """
    exam_of(trial.evaluation, {})
    trial.selector.check()
    paths = _paths(trial, store)
    harmful = [str(Path(trial.data.align_harmful).absolute())] if trial.data.align_harmful else []
    prompts = {role: _ref(load_eval_prompts, paths[role]) for role in FILES if role in paths}
    exam = exam_of(trial.evaluation, prompts)
    inputs = TrialInputs(
        model_at(trial.model, store, say),
        _ref(load_examples, paths["finetune"]),
        _ref(load_examples, paths["safe"]) if "safe" in paths else None,
        _ref(load_triples, paths["align"], *harmful) if "align" in paths else None,
        prompts,
        model_at(trial.selection.model, store, say, "selection.model") if trial.selection.model else None,
        {f"evaluation.attacks.{suite.name}": suite.data for suite in exam.suites if suite.source},
        _reference(trial, prompts),
        _base(trial, store),
    )
    _check_rows(trial, inputs, exam)
    check_models(trial, inputs.data(), inputs.model, inputs.ranker)
    return inputs


def _reference(trial: TrialConfig, prompts: Mapping[str, DataRef]) -> DataRef | None:
    path = trial.evaluation.reference
    if not isinstance(path, str) or path == BASE:
        return None
    data = _ref(load_examples, str(Path(path).absolute()))
    check_reference(data, [prompt for asked in prompts.values() for prompt in asked.prompts()])
    return data


def _base(trial: TrialConfig, store: Artifacts) -> DataRef | None:
    """The rows that align the untouched model. Raises ConfigError for one that can't be: adapters can't be put on adapters."""
    world = trial.model.align
    if world is None:
        return None
    path = Path(trial.model.path)
    if path.is_dir() and adapted_model(path) is not None:
        raise ConfigError(
            f"`model.align`: got {world} with {path}, which is an adapter folder; give a whole model, or set it to null."
        )
    return _ref(load_examples, str(world_folder(trial.worlds[world], store) / "base.jsonl"))


def model_at(settings: ModelSettings | RankingModel, store: Artifacts, say: Say, key: str = "model") -> ModelRef | None:
    """The model of a section, made into a folder first where it is a package or a GGUF file; None for the sandbox's."""
    return model_ref(untouched(settings.path, store, say, f"{key}.path"), settings.chat_template, key)


def model_ref(path: str, template: str | None = None, key: str = "model") -> ModelRef | None:
    """The model of a folder or hub name, checked as far as it can be; None for the sandbox's. `template`: a Jinja file."""
    if path == SANDBOX:
        return None
    if template is not None and not Path(template).is_file():
        raise DataError(f"`{key}.chat_template`: {template}: no such file.")
    check_model_folder(path, f"{key}.path")
    text = Path(template).read_text(encoding="utf-8", errors="replace") if template else None
    if path.startswith(HUB):
        return ModelRef(fingerprint([path, text]), path.removeprefix(HUB), template)
    folder = Path(path).absolute()
    ref = ModelRef(fingerprint([folder_fingerprint(folder), text]), str(folder), template)
    _look_at(ref)
    return ref


@lru_cache(maxsize=16)
def _look_at(model: ModelRef) -> None:
    """Once for each content: do its weights fit, can its tokenizer and template be loaded?"""
    model_facts(model.folder)
    model.chat()


def _paths(trial: TrialConfig, store: Artifacts) -> dict[str, str]:
    data, evaluation = trial.data, trial.evaluation
    named = {"finetune": data.finetune, "safe": data.safe, "align": data.align}
    named |= {role: getattr(evaluation, role) for role in FILES}
    worlds = {name: world_folder(world, store) for name, world in trial.worlds.items() if name in named.values()}
    paths = {}
    for role, path in named.items():
        if path in worlds:
            paths[role] = str(worlds[path] / f"{_WORLD_FILES[role]}.jsonl")
        elif path is not None:
            paths[role] = str(Path(path).absolute())
    return paths


def world_folder(world: AnyWorld, store: Artifacts) -> Path:
    """The folder with a world's rows, made on first use. Those of the tricks go by what they are: texts change, and may be a
    file's."""
    key = fingerprint([FORMAT, "world", world if isinstance(world, World) else generate(world)])
    with store.making("world", key, plain(world)) as place:
        if place is not None:
            write(world, place[0])
    return store.artifact("world", key).folder


def _ref(load: Callable[..., Sequence[Row]], *paths: str) -> DataRef:
    return _read(load, paths, tuple(stamp(Path(path)) for path in paths))


@lru_cache(maxsize=64)
def _read(load: Callable[..., Sequence[Row]], paths: tuple[str, ...], stamps: tuple[Any, ...]) -> DataRef:
    """Read once as long as the files stay what they are."""
    rows = load(*paths)
    path, harmful = (*paths, None)[:2]
    labels = labels_of(rows) if load is load_eval_prompts else ""
    known = dataset_fingerprint(rows), str(path), harmful, len(rows)
    return HalvesRef(*known, labels=labels) if labels else DataRef(*known)


_checked: set[Any] = set()


def _check_rows(trial: TrialConfig, inputs: TrialInputs, exam: Exam) -> None:
    if trial.selection.file is not None:
        Selection.load(Path(trial.selection.file)).apply(inputs.finetune.examples())
    if inputs.safe is not None:
        _check_safeinstr(trial.selection.safeinstr, inputs.safe)
    if trial.data.plant and inputs.align is not None:
        _check_plant(trial.data.plant, inputs.align)
    key = fingerprint([inputs.finetune, inputs.safe, inputs.align, inputs.base, inputs.prompts, exam.suites])
    if key in _checked:
        return
    suites, training = inputs.asked(), inputs.trained()
    check_overlap(training, suites)
    check_normalised(training, suites)
    _check_attacks(exam, suites)
    _check_references(suites)
    check_labels(suites)
    _checked.add(key)


def _check_safeinstr(count: int, safe: DataRef) -> None:
    rows = len(safe.examples()) if count else 0
    if count > rows:
        raise ConfigError(f"`selection.safeinstr`: got {count}, but `data.safe` has {rows} rows ({safe.path}).")


def _check_plant(count: int, align: DataRef) -> None:
    rows = len(align.triples())
    if count > rows:
        raise ConfigError(f"`data.plant`: got {count}, but it takes at most the {rows} rows of `data.align` ({align.path}).")


def _check_attacks(exam: Exam, suites: Mapping[str, list[EvalPrompt]]) -> None:
    for suite in (suite for suite in exam.suites if ROLES[suite.role].attacked):
        key = f"evaluation.attacks.{suite.source}" if suite.source else f"evaluation.{suite.role}"
        rows = suites[key if suite.source else suite.role]
        where = f"`{key}`: {rows[0].identity.source}: the {suite.name} attack needs"
        if suite.attack.needs_harmful and not any(row.harmful for row in rows):
            raise DataError(f"{where} `harmful` answers, but no row has one.")
        if suite.attack.needs_scripts and not any(row.scripts for row in rows):
            raise DataError(f"{where} conversations, but no row has one; name a `file` of some.")
        suite.attack.check(rows[: suite.max_prompts])


def _check_references(suites: Mapping[str, list[EvalPrompt]]) -> None:
    for role in ROLES.values():
        for prompt in suites.get(role.name, ()) if role.hit == "right" else ():
            if prompt.reference is None:
                place = prompt.identity.place
                raise DataError(f"`evaluation.{role.name}`: {place}: it needs a `reference` answer, but has none.")
