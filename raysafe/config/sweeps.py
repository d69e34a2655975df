"""Sweeps into trials: YAML in, frozen objects out, every problem told at once."""

import copy
import itertools
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from raysafe.artifacts import plain
from raysafe.config.reading import build, merged, named_functions, parse_overrides, read_yaml, set_key, unknown_key
from raysafe.config.rules import sweep_problems, trial_problems
from raysafe.config.sections import (
    BASE,
    SANDBOX,
    TRICKS,
    DataSettings,
    EvaluationSettings,
    ModelSettings,
    Resources,
    SchedulerSettings,
    SelectionSettings,
    TrackingSettings,
    TrainingSettings,
)
from raysafe.config.seeds import Replicate, replicates_of, twice, world_problems
from raysafe.config.trials import SweepConfig, TrialConfig, TrialPlan
from raysafe.config.worlds import WORLDS, reads, recommended
from raysafe.config.written import located, unwritten
from raysafe.errors import ConfigError
from raysafe.objectives import OBJECTIVES
from raysafe.selection import SELECTORS


@dataclass(frozen=True)
class _SweepSection:
    grid: dict[str, list[Any]] = field(default_factory=dict)
    points: list[dict[str, Any]] = field(default_factory=list)


_PLAIN_SECTIONS: dict[str, Any] = {
    "model": ModelSettings,
    "data": DataSettings,
    "selection": SelectionSettings,
    "training": TrainingSettings,
    "proxy": TrainingSettings,
    "evaluation": EvaluationSettings,
    **WORLDS,
}
_NAMED_SECTIONS: dict[str, tuple[Mapping[str, Any], str]] = {
    "selector": (SELECTORS, "seal"),
    "objective": (OBJECTIVES, "wdoor"),
}
_TRIAL_KEYS = (*_PLAIN_SECTIONS, *_NAMED_SECTIONS)
_SWEEP_KEYS = ("name", "question", "seeds", "sweep", "scheduler", "resources", "tracking")


def load_sweep(path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> SweepConfig:
    """Read and check a sweep's YAML file; `overrides` are `a.b=value` texts, as `--set` takes them.

    Raises ConfigError with one line a problem, each naming the key, what it got and what it takes.
    """
    raw = read_yaml(Path(path))
    parse_overrides(raw, overrides)
    return make_sweep(raw, str(path))


def make_sweep(raw: Mapping[str, Any], where: str = "configuration") -> SweepConfig:
    """Check a sweep given as plain values, or with a function wherever it takes the import path of one; see `load_sweep`."""
    problems: list[str] = []
    raw, written = unwritten(named_functions(raw, "", problems), _TRIAL_KEYS)
    problems += [unknown_key(str(key), raw[key], (*_SWEEP_KEYS, *_TRIAL_KEYS)) for key in raw if key not in _known()]
    name, question = raw.get("name"), raw.get("question", "")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        problems.append(f"`name`: got {name!r}, but it takes letters, digits, `.`, `_` and `-`, as it names a folder")
    if not isinstance(question, str):
        problems.append(f"`question`: got {question!r}, but it takes a text")
    seeds = replicates_of(raw.get("seeds", [0]), problems)
    scheduler = build(SchedulerSettings, _named(raw.get("scheduler", {})), "scheduler", problems)
    resources = build(Resources, raw.get("resources", {}), "resources", problems)
    tracking = build(TrackingSettings, raw.get("tracking", {}), "tracking", problems)
    section = build(_SweepSection, raw.get("sweep", {}), "sweep", problems) or _SweepSection()
    shared = {key: copy.deepcopy(value) for key, value in raw.items() if key in _TRIAL_KEYS}
    trials = _trials(shared, section, seeds, resources or Resources(), problems)
    if not problems and scheduler is not None:
        problems += sweep_problems(scheduler, trials)
    if problems:
        raise ConfigError(f"{where}: " + "; ".join(dict.fromkeys(problems)) + ".")
    assert scheduler is not None and resources is not None and tracking is not None
    if (folder := written.folder) is not None:
        trials = [replace(plan, config=located(plan.config, folder)) for plan in trials]
    return SweepConfig(str(name), question, tuple(trials), scheduler, resources, raw, written.facts, tracking)


def _known() -> tuple[str, ...]:
    return (*_SWEEP_KEYS, *_TRIAL_KEYS)


def _named(raw: Any) -> Any:
    return {"name": raw} if isinstance(raw, str) else raw


def _trials(
    shared: dict[str, Any], section: _SweepSection, seeds: list[Replicate], resources: Resources, problems: list[str]
) -> list[TrialPlan]:
    for key, values in section.grid.items():
        if not values:
            problems.append(f"`sweep.grid.{key}`: got [], but it takes at least one value")
        problems += [f"`sweep.grid.{key}`: {value!r} stands twice, which gives equal trials" for value in twice(values)]
    points = [dict(zip(section.grid, values, strict=True)) for values in itertools.product(*section.grid.values())]
    if section.points and not section.grid:
        points = []
    points += section.points
    plans: list[TrialPlan] = []
    for seed, point in itertools.product(seeds, points):
        raw = copy.deepcopy(shared)
        for key, value in point.items():
            if key.split(".")[0] not in _TRIAL_KEYS:
                problems.append(unknown_key(f"sweep: {key}", value, _TRIAL_KEYS))
            set_key(raw, key, copy.deepcopy(value))
        config = make_trial(raw, seed, resources.workers, problems)
        if config:
            problems += world_problems(seed, raw, config.worlds)
            swept = _flat(point)
            plan = TrialPlan("", config, swept)
            plans.append(replace(plan, name=_trial_name(len(plans), plan)))
    return plans


def _flat(point: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in point.items():
        if key in _NAMED_SECTIONS and isinstance(value, str):
            flat[f"{key}.name"] = value
        elif isinstance(value, Mapping):
            flat.update(_flat({f"{key}.{inner}": item for inner, item in value.items()}))
        else:
            flat[key] = value
    return flat


def _trial_name(index: int, plan: TrialPlan) -> str:
    parts = [str(value) if key.endswith(".name") else f"{key.rsplit('.', 1)[-1]}{value}" for key, value in plan.swept.items()]
    seeds = [f"{axis.removeprefix('seed_')}{seed}" for axis, seed in plan.axes.items()]
    slug = re.sub(r"[^\w.]+", "_", "-".join([*parts, *seeds, f"seed{plan.config.seed}"]))
    return f"{index:03d}-{slug}"[:80]


def make_trial(raw: Mapping[str, Any], seed: Replicate, workers: int, problems: list[str]) -> TrialConfig | None:
    """One trial from plain values; problems are added to the list."""
    before = len(problems)
    trial = read_trial(raw, seed, problems)
    if trial is not None:
        problems.extend(trial_problems(trial, workers))
        wrong: list[str] = []
        opponent = opponent_of(trial, wrong)
        wrong += trial_problems(opponent, workers) if opponent is not None else []
        problems.extend(f"`evaluation.reference.trial`: {problem}" for problem in wrong)
    return trial if len(problems) == before else None


def read_trial(raw: Mapping[str, Any], seed: Replicate, problems: list[str]) -> TrialConfig | None:
    """One trial from plain values, whose sections are sound, whether or not they work together."""
    before = len(problems)
    raw = {key: _named(value) if key in _NAMED_SECTIONS else value for key, value in raw.items()}
    raw = {key: {} if value is None else value for key, value in raw.items()}
    for key, value in raw.items():
        if not isinstance(value, Mapping):
            problems.append(f"`{key}`: got {value!r}, but it takes a mapping of keys")
    if len(problems) > before:
        return None
    names = {key: raw.get(key, {}).get("name", default) for key, (_, default) in _NAMED_SECTIONS.items()}
    names = {key: name if isinstance(name, str) else repr(name) for key, name in names.items()}
    raw = merged(recommended(raw, names), raw)
    world = seed.default_world if seed.world is None else seed.world
    for name in (SANDBOX, *([TRICKS] if reads(raw, TRICKS) else [])):
        raw[name] = {"seed": world, **raw.get(name, {})}  # each seed its own world, unless the file names one
    parts: dict[str, Any] = {key: build(kind, raw.get(key, {}), key, problems) for key, kind in _PLAIN_SECTIONS.items()}
    for key, (table, _) in _NAMED_SECTIONS.items():
        parts[key] = _member(key, table, names[key], raw.get(key, {}), problems)
    return TrialConfig(seed=seed.training, ranking_seed=seed.ranking, **parts) if len(problems) == before else None


def opponent_of(trial: TrialConfig, problems: list[str]) -> TrialConfig | None:
    """The trial that a trial's win rates compare with: itself with the settings of `evaluation.reference.trial` in place of its
    own. None where that is not what they compare with, or the settings are wrong: problems are added to the list.

    What it is compared with itself is no matter, and is left at the untrained model, so that there is no circle.
    """
    if not isinstance(trial.evaluation.reference, Mapping):
        return None
    raw = {key: value for key, value in plain(trial).items() if key in _TRIAL_KEYS}
    raw["evaluation"]["reference"] = BASE
    for key, value in trial.evaluation.reference["trial"].items():
        section = str(key).split(".")[0]
        if section not in _TRIAL_KEYS or section == "evaluation":
            takes = [name for name in _TRIAL_KEYS if name != "evaluation"]
            problems.append(unknown_key(str(key), value, takes))
        else:
            set_key(raw, key, copy.deepcopy(value))
    if problems:
        return None
    return read_trial(raw, Replicate(trial.seed, trial.ranking_seed), problems)


def _member(key: str, table: Mapping[str, Any], name: Any, raw: Mapping[str, Any], problems: list[str]) -> Any:
    if name not in table:
        problems.append(f"`{key}.name`: got {name!r}, but it takes one of {', '.join(table)}")
        return None
    return build(table[name], {field: value for field, value in raw.items() if field != "name"}, key, problems)
