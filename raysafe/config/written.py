"""Configurations as raysafe writes them (`sweep.yaml` of a sweep, `config.yaml` of a trial), which can be run as they are.

Beside the keys of a configuration they say what was true when they were written: versions, fingerprints of datasets, the folder
that their relative paths start from. These keys are known in a written file only, where all of them stand together.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from raysafe.config.packages import PACKAGES
from raysafe.config.sections import BASE, SANDBOX, TRICKS
from raysafe.config.seeds import of_a_trial
from raysafe.config.trials import TrialConfig

FACTS = ("fingerprint", "versions", "datasets")
"""What every written file has."""
MORE_FACTS = ("machine", "models", "relative_to", "evaluations", "trials")
"""What those of a later version have, or one kind of them."""
LATER = (TRICKS,)
"""Sections that files of an earlier version lack."""
NAME_OF_A_TRIAL = "trial"
"""What a trial is called whose file doesn't say it."""
HUB = "hf://"
MODEL_PATHS = ("path", "chat_template")
DATA_PATHS = ("finetune", "safe", "align", "align_harmful")
EVALUATION_PATHS = ("harmful", "borderline", "utility", "new_tasks")
ATTACK_PATHS = ("file", "behaviors")
"""Settings of attacks that name files."""
PROBE_PATHS = ("include",)
"""Settings of probes that name folders."""
JUDGE_PATHS = ("path", "template")
"""Settings of judges, or of a part of one, that name files or folders."""
NO_FILES = ("package:", "tokenizer")
"""What such a setting begins with that is found elsewhere."""


@dataclass(frozen=True)
class Written:
    """What a written file says beside its configuration; all empty for a file that a person wrote."""

    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path | None:
        """Where its relative paths start from; None where they start from here."""
        base = self.facts.get("relative_to")
        return Path(base) if isinstance(base, str) and Path(base) != Path.cwd() else None


def unwritten(raw: Mapping[str, Any], sections: Iterable[str]) -> tuple[dict[str, Any], Written]:
    """The configuration in plain values, and what a written file says beside it. `sections`: the keys of a whole trial.

    Of a trial's file `seed`, and `ranking_seed` where it has one, become the only ones of `seeds`.
    """
    needed = [key for key in sections if key not in LATER]
    facts = {key: raw[key] for key in (*FACTS, *MORE_FACTS) if key in raw} if all(key in raw for key in FACTS) else {}
    own = {key: value for key, value in raw.items() if key not in facts}
    if "seed" in own and "seeds" not in own and all(key in own for key in needed):
        seeds = of_a_trial(own.pop("seed"), own.pop("ranking_seed", None))
        own = {"name": NAME_OF_A_TRIAL, **own, "seeds": seeds}
    return own, Written(facts)


def located(trial: TrialConfig, folder: Path) -> TrialConfig:
    """The trial with its relative paths taken from a folder."""

    def moved(section: Any, names: Iterable[str]) -> Any:
        paths = {name: getattr(section, name) for name in names}
        return replace(section, **{name: str(folder / path) for name, path in paths.items() if _is_path(path)})

    def of_each(family: Mapping[str, Mapping[str, Any]], names: Iterable[str]) -> dict[str, dict[str, Any]]:
        return {
            member: {key: str(folder / value) if key in names and _is_path(value) else value for key, value in settings.items()}
            for member, settings in family.items()
        }

    def of_judge(settings: Any) -> Any:
        if not isinstance(settings, Mapping):
            return settings
        return {key: _from(folder, value) if key in JUDGE_PATHS else of_judge(value) for key, value in settings.items()}

    def of_reference(reference: Any) -> Any:
        return str(folder / reference) if isinstance(reference, str) and reference != BASE else reference

    ranker = trial.selection.model
    selection = replace(moved(trial.selection, ("file",)), model=moved(ranker, MODEL_PATHS) if ranker else None)
    return replace(
        trial,
        model=moved(trial.model, MODEL_PATHS),
        data=moved(trial.data, DATA_PATHS),
        selection=selection,
        tricks=moved(trial.tricks, ("answers",)),
        evaluation=replace(
            moved(trial.evaluation, EVALUATION_PATHS),
            attacks=of_each(trial.evaluation.attacks, ATTACK_PATHS),
            probes=of_each(trial.evaluation.probes, PROBE_PATHS),
            reference=of_reference(trial.evaluation.reference),
            judge=of_judge(trial.evaluation.judge),
            judges=tuple(map(of_judge, trial.evaluation.judges)),
        ),
    )


def _from(folder: Path, path: Any) -> Any:
    return str(folder / path) if isinstance(path, str) and not path.startswith(NO_FILES) else path


def _is_path(value: str | None) -> bool:
    return value is not None and value not in (SANDBOX, TRICKS, *PACKAGES) and not value.startswith(HUB)
