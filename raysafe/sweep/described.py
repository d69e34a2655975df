"""What runs are called, by what they are compared, and what is said of them: two sentences, what it was and how it ended."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raysafe.artifacts import MANIFEST, Artifact, plain
from raysafe.config.defaults import departures, dotted
from raysafe.config.trials import TrialPlan
from raysafe.models.fetched import UNTOUCHED, source_of
from raysafe.models.folders import read_object
from raysafe.report.figures import FIGURES
from raysafe.report.naming import SYMBOLS, proper_name, seeds_text, setting_text, short_names, trial_title
from raysafe.report.summary import TrialRow
from raysafe.sweep.trial_record import TrialRecord
from raysafe.tracking.base import DatasetSpec, link_to

MOST_LINKS = 20
"""Runs that a description names one by one."""


def trial_params(plan: TrialPlan, swept: Sequence[str] = ()) -> dict[str, Any]:
    """The swept settings and the seed plainly, then, dotted, these and all that is not as it would be by itself.

    swept: all settings that the sweep sets in some trial; one that it has not set in this one has its own value here.
    """
    short, own = short_names(list(swept or plan.swept)), settings_of(plan)
    plainly = {name: own[key] for key, name in short.items() if key in own} | {"seed": plan.config.seed, **plan.axes}
    return plainly | {**departures(plan.config), **plan.swept}


def settings_of(plan: TrialPlan) -> dict[str, Any]:
    """All settings of a trial, dotted, the swept ones as the sweep gave them."""
    return {**dotted(plain(plan.config)), **plan.swept}


def title_of(plan: TrialPlan) -> str:
    """A trial's run, as people read it."""
    return trial_title(plan.swept, plan.config.seed, plan.axes)


def what_it_is(plan: TrialPlan, rows: int | None) -> str:
    """`SEAL with γ = 0.1 keeps 80 % of 400 rows, then W-DOOR trains on them, seed 1.` `rows`: of D, if known."""
    config, short = plan.config, short_names(list(plan.swept))
    selector, objective = proper_name(config.selector.name), proper_name(config.objective.name)
    gamma = {"selector.gamma": value} if (value := getattr(config.selector, "gamma", None)) is not None else {}
    settings = {**gamma, **plan.swept}
    by_section: dict[str, list[str]] = {"selector": [], "objective": [], "": []}
    for key, value in settings.items():
        section = key.partition(".")[0]
        if key not in ("selection.percent", "selector.name", "objective.name"):
            text = f"{SYMBOLS.get(key, short.get(key, key))} = {setting_text(value)}"
            by_section[section if section in by_section else ""].append(text)
    counted = "the rows" if rows is None else f"{rows:,} rows"
    kept = f"keeps {config.percent:g} % of {counted}" if config.percent < 100 else f"keeps all of {counted}"
    if config.selection.file is not None:
        kept, selector, by_section["selector"] = f"says what is kept of {counted}", f"`{Path(config.selection.file).name}`", []
    words = [
        f"{_with(selector, by_section['selector'])} {kept}",
        f"then {_with(objective, by_section['objective'])} trains on them",
    ]
    return f"{', '.join([*words, *by_section[''], seeds_text(config.seed, plan.axes)])}."


def _with(name: str, settings: Sequence[str]) -> str:
    return f"{name} with {' and '.join(settings)}" if settings else name


def how_it_ended(trial: TrialRecord) -> str:
    """`It finished after 4 epochs in 41 s with win rate 0.53 [.50, .56] and safety score 1.00 [1.00, 1.00].`"""
    figures, epochs, of = trial.figures(), trial.epoch, trial.plan.config.training.epochs
    told = [f"{figure.title} {text}" for figure in FIGURES if figure.main and (text := figure.cell(figures))]
    scores = f" with {' and '.join(told)}" if told else ""
    if trial.status == "FINISHED":
        return f"It finished after {_counted(epochs, 'epoch')} in {trial.seconds:.0f} s{scores}."
    if trial.status == "STOPPED" and trial.error:
        return f"It was stopped after epoch {epochs} of {of}, at {trial.seconds:.0f} s{scores}: {_sentence(trial.error)}"
    if trial.status == "STOPPED":
        return f"The scheduler stopped it after epoch {epochs} of {of}, at {trial.seconds:.0f} s{scores}."
    return f"It failed after {_counted(epochs, 'epoch')}: {_sentence(trial.error)}"


def how_the_sweep_ended(rows: Sequence[TrialRow], trials: int) -> str:
    """`9 of 10 trials finished, 1 failed. The highest safety score, 1.00 [1.00, 1.00], has [γ=0.1 wdoor seed 0](...).`"""
    by_status = {status: sum(row.status == status for row in rows) for status in ("FINISHED", "STOPPED", "FAILED")}
    words = {"FINISHED": "finished", "STOPPED": "stopped early", "FAILED": "failed"}
    parts = [f"{count} {words[status]}" for status, count in by_status.items() if count]
    said = f"Of {_counted(trials, 'trial')} {', '.join(parts)}." if parts else f"Of {_counted(trials, 'trial')} none has ended."
    for figure in FIGURES:
        known = [row for row in rows if figure.main and row.status == "FINISHED" and figure.name in row.figures]
        if known:
            best = max(known, key=lambda row: row.figures[figure.name])
            title = link_to(f"trial:{best.trial}", trial_title(best.swept, best.seed, best.axes))
            like = sum(row.figures[figure.name] == best.figures[figure.name] for row in known) - 1
            more = f" and {_counted(like, 'other')}" if like else ""
            said += f" The highest {figure.title}, {figure.cell(best.figures)}, {'have' if like else 'has'} {title}{more}."
    return said


def stage_facts(artifact: Artifact, label: str, manifest: Mapping[str, Any], swept: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Name and parameters of a shared stage's run, from its manifest; label and key alone where that is none of ours."""
    inputs, result = manifest["inputs"], manifest["result"]
    try:
        return stage_name(artifact.kind, label, inputs), stage_params(artifact.kind, inputs, result, swept)
    except (KeyError, TypeError):  # a kind of stage that somebody has added or changed
        return f"{label} {artifact.key[:8]}", {}


def datasets_of(inputs: Mapping[str, Any]) -> list[DatasetSpec]:
    """What a ranking reads, by its manifest."""
    found = {role: inputs.get(role) for role in ("finetune", "safe")}
    return [
        DatasetSpec(Path(data["path"]).name, data["path"], data["fingerprint"], role, data.get("rows"))
        for role, data in found.items()
        if data
    ]


def stage_name(kind: str, label: str, inputs: Mapping[str, Any]) -> str:
    """`rank γ=0.1 seal seed 1`, from the inputs of a stage's manifest."""
    seed = inputs.get("seed")
    if kind == "rank":
        selector = inputs["selector"]
        settings = {"selector.gamma": selector["gamma"]} if selector.get("gamma") is not None else {}
        return f"{label} {trial_title({**settings, 'selector.name': selector['name']}, seed)}"
    if kind == "verdicts":
        return f"{label} answers judged by {inputs['judge']['name']}"
    if kind == "base" and "world" in inputs:
        return f"sandbox model seed {inputs['world']['seed']}"
    of = f" of {model_name(inputs['model'])}" if "model" in inputs and kind != "train" else ""
    prefixed = " with prefixes" if kind == "log_probs" and inputs["alignment"]["prefix"] else ""
    seed = inputs.get("alignment", {}).get("seed") if kind == "log_probs" else seed
    return f"{label}{of}{prefixed}" + ("" if seed is None else f" seed {seed}")


def stage_params(kind: str, inputs: Mapping[str, Any], result: Mapping[str, Any], swept: Sequence[str]) -> dict[str, Any]:
    """The few settings that tell a shared stage from others of its kind, from its manifest; `swept`: dotted keys."""
    params: dict[str, Any] = {"seed": inputs["seed"]} if "seed" in inputs else {}
    if "model" in inputs:
        params["model"] = model_name(inputs["model"])
    if kind == "rank":
        return params | _ranking_params(inputs, result, swept)
    if kind == "train":
        training = inputs["training"]
        rows = sum(result["rows"].values())
        return (
            params | {"objective": inputs["objective"]["name"], "rows": rows} | {key: training[key] for key in ("epochs", "lr")}
        )
    if kind == "log_probs":
        alignment = inputs["alignment"]
        prefix = alignment["prefix"]["mode"] if alignment["prefix"] else "none"
        return params | {"seed": alignment["seed"], "rows": result["rows"], "prefix": prefix, "precision": inputs["precision"]}
    if kind == "answers":
        return params | {"answers": result["answers"], "max_new_tokens": inputs["decoding"]["max_new_tokens"]}
    if kind == "readings":
        return params | {"probes": ", ".join(probe["name"] for probe in inputs["probes"]), "precision": inputs["precision"]}
    if kind == "verdicts":
        return params | {"judge": result["judge"]["name"], "judge_version": result["judge"]["version"]}
    if kind == "base" and "world" not in inputs:
        training = inputs["training"]
        return params | {"rows": result["rows"], "steps": inputs["steps"], "lr": training["lr"]}
    return params | ({"seed": inputs["world"]["seed"]} if kind == "base" else {})


def _ranking_params(inputs: Mapping[str, Any], result: Mapping[str, Any], swept: Sequence[str]) -> dict[str, Any]:
    selector, data = inputs["selector"], inputs["finetune"]
    own = [key.partition(".")[2] for key in swept if key.startswith("selector.")]
    settings = {name: selector[name] for name in dict.fromkeys(["gamma", "epochs", *own]) if selector.get(name) is not None}
    found = {"selector": selector["name"], **settings, "data": Path(data["path"]).name, "data_fingerprint": data["fingerprint"]}
    return found | {"rows": result["rows"]} | ({"planted": result["planted"]} if result["planted"] else {})


def model_name(model: Mapping[str, Any]) -> str:
    """What people know a stage's model by: `sandbox`, `proxy` with the beginning of its key, the package or file that it was
    made from, or its folder's or hub's name."""
    path = Path(model["folder"])
    if path.parent.name == UNTOUCHED and path.parent.parent.name == "artifacts":
        return source_of(path)
    if path.parent.name in ("base", "train") and path.parent.parent.name == "artifacts":
        return base_name(path) if path.parent.name == "base" else f"proxy {model['key'][:8]}"
    return path.name if path.is_absolute() else str(path)


def base_name(folder: Path) -> str:
    """`sandbox`, or `smollm2 aligned`, by the manifest of a model that a stage has made for trials to start from."""
    manifest = folder / MANIFEST
    inputs = read_object(manifest)["inputs"] if manifest.is_file() else {}
    return f"{model_name(inputs['model'])} aligned" if "model" in inputs else "sandbox"


def used_by(trials: Mapping[str, str]) -> str:
    """Whom a shared stage served, with links; `trials`: names to titles."""
    shown = [link_to(f"trial:{name}", title) for name, title in list(trials.items())[:MOST_LINKS]]
    more = f" and {len(trials) - MOST_LINKS} more" if len(trials) > MOST_LINKS else ""
    return f"Used by {', '.join(shown)}{more}." if shown else ""


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _sentence(text: str) -> str:
    """The first line of an error, as the end of a sentence."""
    first = text.partition("\n")[0].strip()
    return first if first.endswith((".", "!", "?")) else f"{first}."
