"""Attacks that were written beforehand: HarmBench's test cases, and conversations with an objective.

What an attack is after, its objective, is the prompt of a row; what is asked for it are the row's scripts.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from raysafe.artifacts import OFF_KEY
from raysafe.data.layouts import prompt_of, script_of
from raysafe.data.loading import load_eval_prompts
from raysafe.data.prompts import eval_prompt
from raysafe.data.records import EvalPrompt, Identity, dataset_fingerprint
from raysafe.data.references import DataRef
from raysafe.data.sources import read_records, stamp
from raysafe.errors import DataError

BEHAVIOR_ID = "BehaviorID"


@dataclass(frozen=True)
class Behaviors:
    """What keys of test cases may name: the rows of a file by their `BehaviorID`, and by the text of their request. `required`:
    whether a key that names none of them is wrong."""

    path: str
    required: bool = False

    def named(self) -> dict[str, EvalPrompt]:
        """The rows by what they may be called. Raises DataError where IDs are wanted and there are none."""
        ids: dict[str, EvalPrompt] = {}
        texts: dict[str, EvalPrompt] = {}
        for index, (place, record) in enumerate(read_records(self.path)):
            prompt = eval_prompt(Identity(self.path, index), record, place)
            for text in (record.get("Behavior"), prompt.prompt[-1].content):
                texts.setdefault(str(text), prompt)
            if record.get(BEHAVIOR_ID):
                ids[str(record[BEHAVIOR_ID])] = prompt
        if self.required and not ids:
            raise DataError(f"{self.path}: behaviours have a column {BEHAVIOR_ID}, but it has none.")
        return texts | ids


@dataclass(frozen=True)
class ScriptsRef(DataRef):
    """A file of scripts, and that of the behaviours which its keys may name."""

    behaviors: Behaviors | None = field(default=None, metadata=OFF_KEY, kw_only=True)

    def prompts(self) -> list[EvalPrompt]:
        """Its objectives with their scripts."""
        rows: list[EvalPrompt] = self._same(load_scripts(self.path, self.behaviors))
        return rows


def scripts_ref(path: str, behaviors: Behaviors | None = None) -> ScriptsRef:
    """A file of scripts, read once as long as the files stay what they are."""
    stamps = (stamp(Path(path)), stamp(Path(behaviors.path)) if behaviors else ())
    return _read(str(Path(path).absolute()), behaviors, stamps)


@lru_cache(maxsize=64)
def _read(path: str, behaviors: Behaviors | None, stamps: tuple[Any, ...]) -> ScriptsRef:
    rows = load_scripts(path, behaviors)
    return ScriptsRef(dataset_fingerprint(rows), path, rows=len(rows), behaviors=behaviors)


def load_scripts(path: str | Path, behaviors: Behaviors | None = None) -> list[EvalPrompt]:
    """Rows with `scripts`, of HarmBench's test cases, `{objective or BehaviorID: [prompt, ...]}`, or of a table of
    conversations. Raises DataError naming file and line, or file and key."""
    cases = _test_cases(Path(path))
    if cases is not None:
        return _of_test_cases(str(path), cases, behaviors)
    rows = load_eval_prompts(path)
    for row in rows:
        if not row.scripts:
            raise DataError(
                f"{row.identity.place}: it has no conversation. Scripts are rows of objective and conversation, or one JSON "
                "object of test cases, {objective or BehaviorID: [prompt, ...]}."
            )
    return rows


def _test_cases(path: Path) -> dict[str, Any] | None:
    """The object that a JSON file is; None for any other file, which is read as a table."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not readable as JSON ({error.msg}).") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: can't be read: {error}.") from error
    return value if isinstance(value, dict) else None


def _of_test_cases(path: str, cases: Mapping[str, Any], behaviors: Behaviors | None) -> list[EvalPrompt]:
    if not cases:
        raise DataError(f"{path}: got no test cases, but at least one is needed.")
    known = behaviors.named() if behaviors is not None else {}
    rows = []
    for index, (key, texts) in enumerate(cases.items()):
        place = f"{path}, key {key!r:.80}"
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise DataError(f"{place}: it takes a list of prompts, texts all of them, but got {texts!r:.60}.")
        objective = _objective(key, place, known, behaviors)
        identity = Identity(path, index)
        rows.append(replace(objective, identity=identity, scripts=tuple(script_of(text, place) for text in texts)))
    return rows


def _objective(key: str, place: str, known: Mapping[str, EvalPrompt], behaviors: Behaviors | None) -> EvalPrompt:
    """The behaviour that a key names, or else the key itself, unless it can't be a request: then it is a label."""
    if key in known:
        return known[key]
    where = f"no row of {behaviors.path} has this {BEHAVIOR_ID} or this text" if behaviors else "no behaviours are known"
    if behaviors is not None and behaviors.required:
        raise DataError(f"{place}: {where}. Name the table that the test cases were made for, or take the key out.")
    if len(key.split()) < 2:
        raise DataError(
            f"{place}: it looks like a {BEHAVIOR_ID}, not like a request, and {where}. Name the table of the behaviours as "
            "`behaviors` of the attack, or key the test cases by their objectives."
        )
    return EvalPrompt(Identity(place, 0), prompt_of(key, place))
