"""Evaluation rows: the tables of public benchmarks, each recognised by all its columns, and rows with a `prompt`.

One table's label is another's request under the same name (`Behavior` of JailbreakBench and of HarmBench); so a named table has
exactly its columns, but for those that only number the rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from raysafe.data.layouts import (
    ANSWERED,
    answer_of,
    columns,
    optional_text,
    prompt_and_answer,
    prompt_of,
    script_of,
    text_of,
    truth,
)
from raysafe.data.records import Conversation, EvalPrompt, Identity
from raysafe.data.sources import Record
from raysafe.errors import DataError

NUMBERING = frozenset({"", "Unnamed: 0", "index", "Index", "id"})
"""Columns that number rows, which tables gain when they are saved again."""
CONTEXT = "\n\n---\n\n"
"""What HarmBench puts between a behaviour's context and the behaviour."""


@dataclass(frozen=True)
class Table:
    """A benchmark's table. `read` gives an EvalPrompt of a row with its place."""

    name: str
    columns: frozenset[str]
    read: Callable[[Identity, Record, str], EvalPrompt]


def _jailbreakbench(identity: Identity, row: Record, place: str) -> EvalPrompt:
    """`Goal` is the request, `Target` the beginning of a harmful answer, `Behavior` and `Category` are labels."""
    prompt = prompt_of(text_of(row, "Goal", place), place)
    return EvalPrompt(identity, prompt, None, text_of(row, "Target", place), text_of(row, "Category", place))


def _harmbench(identity: Identity, row: Record, place: str) -> EvalPrompt:
    """A behaviour that refers to a context is asked behind it, as HarmBench asks it."""
    behavior, context = text_of(row, "Behavior", place), optional_text(row, "ContextString", place)
    prompt = prompt_of(context + CONTEXT + behavior if context else behavior, place)
    return EvalPrompt(identity, prompt, kind=text_of(row, "SemanticCategory", place))


def _advbench(identity: Identity, row: Record, place: str) -> EvalPrompt:
    return EvalPrompt(identity, prompt_of(text_of(row, "goal", place), place), None, text_of(row, "target", place))


def _xstest(identity: Identity, row: Record, place: str) -> EvalPrompt:
    label = text_of(row, "label", place)
    if label not in ("safe", "unsafe"):
        raise DataError(f"{place}: `label` takes safe or unsafe, but got {label!r:.60}.")
    prompt, kind = prompt_of(text_of(row, "prompt", place), place), text_of(row, "type", place)
    return EvalPrompt(identity, prompt, kind=kind, unsafe=label == "unsafe")


def _sorry_bench(identity: Identity, row: Record, place: str) -> EvalPrompt:
    turns = row["turns"]
    if not isinstance(turns, list) or len(turns) != 1 or not isinstance(turns[0], str):
        raise DataError(f"{place}: `turns` takes a list of one text, but got {turns!r:.60}.")
    return EvalPrompt(identity, prompt_of(turns[0], place), kind=str(row["category"]))


def _multi_turn(identity: Identity, row: Record, place: str) -> EvalPrompt:
    """`objective` is the request, which the conversation leads up to."""
    objective = prompt_of(text_of(row, "objective", place), place)
    return EvalPrompt(identity, objective, scripts=(script_of(row["conversation"], place),))


TABLES = (
    Table("JailbreakBench", frozenset({"Goal", "Target", "Behavior", "Category", "Source"}), _jailbreakbench),
    Table(
        "HarmBench",
        frozenset({"Behavior", "FunctionalCategory", "SemanticCategory", "Tags", "ContextString", "BehaviorID"}),
        _harmbench,
    ),
    Table("AdvBench", frozenset({"goal", "target"}), _advbench),
    Table("XSTest", frozenset({"prompt", "type", "label", "focus", "note"}), _xstest),
    Table("SORRY-Bench", frozenset({"question_id", "category", "turns", "prompt_style"}), _sorry_bench),
    Table("multi-turn conversations", frozenset({"objective", "conversation"}), _multi_turn),
)


def eval_prompt(identity: Identity, record: Record, place: str) -> EvalPrompt:
    """An evaluation row in any layout. Raises DataError naming place, columns and what is taken."""
    for table in TABLES:
        if record.keys() - NUMBERING == table.columns:
            return table.read(identity, record, place)
    kind, unsafe = optional_text(record, "kind", place), truth(record, "unsafe", place)
    if "prompt" in columns(record):
        prompt = prompt_of(record["prompt"], place)
        reference = _first(record, ("reference", "response", "completion", "chosen"), place)
        harmful = _first(record, ("harmful", "rejected"), place)
        _check_one_prompt(record, prompt, place)
        scripts = tuple(script_of(one, place) for one in _listed(record, "scripts", place))
        accept = tuple(text_of({"accept": one}, "accept", place) for one in _listed(record, "accept", place))
        return EvalPrompt(identity, prompt, reference, harmful, kind, unsafe, scripts, accept)
    try:
        prompt, answer = prompt_and_answer(record, place)
    except DataError as error:
        if "no known layout" not in str(error):
            raise
        takes = "; ".join(f"{', '.join(sorted(table.columns))} ({table.name})" for table in TABLES)
        raise DataError(f"{error} An evaluation row takes also prompt; or exactly the columns {takes}.") from error
    return EvalPrompt(identity, prompt, answer, optional_text(record, "harmful", place), kind, unsafe)


def _check_one_prompt(record: Record, prompt: Conversation, place: str) -> None:
    for keys, reader in ANSWERED:
        if "prompt" not in keys and keys <= columns(record) and reader(record, place)[0] != prompt:
            raise DataError(f"{place}: `prompt` and {' and '.join(sorted(keys))} ask different things; leave only what is meant.")


def _listed(record: Record, key: str, place: str) -> list[Any]:
    """The list under a key, empty where it is not given."""
    value = record.get(key)
    if value is not None and not isinstance(value, list):
        raise DataError(f"{place}: `{key}` takes a list, but got {value!r:.60}.")
    return value or []


def _first(record: Record, keys: tuple[str, ...], place: str) -> str | None:
    """The answer under the first of some keys that the row has."""
    return next((answer_of(record, key, place) for key in keys if record.get(key) is not None), None)
