"""The YAML files that a sweep leaves, read back: its `sweep.yaml` in parts, and any other whole."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from raysafe.errors import DataError

SWEEP = "sweep.yaml"
_TRIALS = "\ntrials:"
"""Where the configurations of all trials begin; the largest part of the file, and its last."""


def sweep_head(folder: Path) -> dict[str, Any]:
    """Everything but the trials; empty if there is no file. Raises DataError if it is no YAML."""
    path = folder / SWEEP
    return _load(path, path.read_text(encoding="utf-8").partition(_TRIALS)[0]) if path.is_file() else {}


def planned_trials(folder: Path) -> dict[str, dict[str, Any]]:
    """Configuration of every trial by name; empty if there is no file. Raises DataError if it is no YAML."""
    path = folder / SWEEP
    _, found, trials = path.read_text(encoding="utf-8").partition(_TRIALS) if path.is_file() else ("", "", "")
    return (_load(path, found + trials).get("trials") or {}) if found else {}


def overlap_in(folder: Path) -> str:
    """What was found of the evaluation prompts in what is trained on, in one line; empty for folders of earlier versions."""
    path = folder / "data_overlap.json"
    return str(json.loads(path.read_text(encoding="utf-8"))["said"]) if path.is_file() else ""


def question_in(head: Mapping[str, Any]) -> str:
    """The sweep's question on one line; empty if the file has none."""
    question = head.get("question")
    return " ".join(question.split()) if isinstance(question, str) else ""


def read_written(path: Path) -> dict[str, Any]:
    """A mapping that raysafe has written; empty if there is no file. Raises DataError if it is no YAML."""
    return _load(path, path.read_text(encoding="utf-8")) if path.is_file() else {}


def _load(path: Path, text: str) -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, which hundreds of trials notice
    try:
        raw = yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        raise DataError(f"{path}: is no YAML ({error}).") from error
    return raw if isinstance(raw, dict) else {}
