"""What raysafe writes of a configuration, so that it can be run again, and what has changed since: see `config/written.py`."""

import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml

from raysafe.artifacts import fingerprint, plain, write_text
from raysafe.config.trials import SweepConfig, TrialConfig
from raysafe.config.written import NAME_OF_A_TRIAL, located
from raysafe.evaluation.exam import exam_of
from raysafe.stages.inputs import TrialInputs
from raysafe.sweep.places import CONFIG

_PACKAGES = ("raysafe", "torch", "transformers", "deepspeed", "ray", "mlflow")


def sweep_document(sweep: SweepConfig, inputs: Mapping[str, TrialInputs]) -> dict[str, Any]:
    """`sweep.yaml`: the configuration as it was given, with what is true now, and every trial in full. `inputs` by trial."""
    trials = {plan.name: plain(plan.config) for plan in sweep.trials if plan.name in inputs}
    facts = {"fingerprint": sweep_fingerprint(sweep), **_facts(inputs.values())}
    every = {plan.name: evaluation_of(plan.config, inputs[plan.name]) for plan in sweep.trials if plan.name in inputs}
    return {**plain(sweep.resolved), **facts, "evaluations": every, "trials": trials}


def trial_document(name: str, config: TrialConfig, inputs: TrialInputs) -> dict[str, Any]:
    """`config.yaml` of a trial of the sweep `name`."""
    own = {NAME_OF_A_TRIAL: evaluation_of(config, inputs)}
    return {"name": name, **plain(config), "fingerprint": trial_fingerprint(config), **_facts([inputs]), "evaluations": own}


def write_trial(folder: Path, name: str, config: TrialConfig, inputs: TrialInputs) -> None:
    """Write `config.yaml` into a trial's folder."""
    write_text(folder / CONFIG, yaml.safe_dump(trial_document(name, config, inputs), sort_keys=False))


def sweep_fingerprint(sweep: SweepConfig) -> str:
    """Of all trials' configurations, from wherever their paths are given."""
    return fingerprint([[plan.name, located(plan.config, Path.cwd())] for plan in sweep.trials])


def former_fingerprint(sweep: SweepConfig) -> str:
    """As versions until 0.1 counted it: of the paths as they were given."""
    return fingerprint([[plan.name, plan.config] for plan in sweep.trials])


def evaluation_of(config: TrialConfig, inputs: TrialInputs) -> str:
    """What a trial's figures will be figures of."""
    return exam_of(config.evaluation, inputs.prompts, inputs.reference).fingerprint


def trial_fingerprint(config: TrialConfig) -> str:
    """Of one trial's configuration."""
    return fingerprint(located(config, Path.cwd()))


def datasets_of(inputs: Iterable[TrialInputs]) -> dict[str, dict[str, str]]:
    """Fingerprints of datasets by role and path."""
    data: dict[str, dict[str, str]] = {}
    for one in inputs:
        for role, ref in one.data().items():
            data.setdefault(role, {})[ref.path] = ref.fingerprint
    return data


def models_of(inputs: Iterable[TrialInputs]) -> dict[str, dict[str, str]]:
    """Keys of models by what they are for and where they lie; the sandbox's is made, and its key is in its folder's name."""
    models: dict[str, dict[str, str]] = {}
    for one in inputs:
        for role, ref in (("model", one.model), ("selection.model", one.ranker)):
            if ref is not None:
                models.setdefault(role, {})[ref.folder] = ref.key
    return models


def versions() -> dict[str, str]:
    """Of what decides a result."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}


def machine() -> dict[str, str]:
    """What decides the last digits: processor and torch's kernels for it."""
    return {"processor": processor(), "kernels": torch.backends.cpu.get_cpu_capability()}


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _facts(inputs: Iterable[TrialInputs]) -> dict[str, Any]:
    every = list(inputs)
    now = {"versions": versions(), "machine": machine(), "datasets": datasets_of(every), "models": models_of(every)}
    return now | {"relative_to": str(Path.cwd())}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def changes(facts: Mapping[str, Any], inputs: Iterable[TrialInputs]) -> list[str]:
    """What is no longer as a written file says: datasets, versions, the machine. Nothing for a file that a person wrote."""
    every = list(inputs)
    return [
        *changed_content("the rows of {} have changed", facts.get("datasets"), datasets_of(every)),
        *changed_content("the weights or files of {} have changed", facts.get("models"), models_of(every)),
        *changed_values("version of {}", facts.get("versions"), versions()),
        *_machine(facts),
    ]


def changed_content(what: str, then: Mapping[str, Any] | None, now: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What has another fingerprint now than any that was noted for its role."""
    found = []
    for role, places in now.items():
        known = (then or {}).get(role) or {}
        for place, mark in places.items():
            if known and mark not in known.values():
                found.append(f"{what.format(role)}: {place} has fingerprint {mark}, then {', '.join(known.values())}")
    return found


def changed_values(what: str, then: Mapping[str, str] | None, now: Mapping[str, str]) -> list[str]:
    """Named values that differ, where both are known."""
    names = [name for name in then or {} if name in now]
    return [f"{what.format(name)}: {now[name]}, then {then[name]}" for name in names if then and now[name] != then[name]]


def _machine(facts: Mapping[str, Any]) -> list[str]:
    return changed_values("{} of this machine", facts.get("machine"), machine())
