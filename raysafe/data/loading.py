"""Records in, typed rows out: one function a data role."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from raysafe.data.layouts import optional_text, preference, prefixed_answer, prompt_and_answer, truth
from raysafe.data.prompts import eval_prompt
from raysafe.data.records import EvalPrompt, Example, Identity, Row, Triple, key_of, prompt_hashes
from raysafe.data.sources import Record, read_records
from raysafe.errors import DataError

T = TypeVar("T", bound=Row)


def load_examples(path: str | Path) -> list[Example]:
    """Rows of `finetune` or `safe`. Raises DataError naming file and line, also for an empty file."""
    return _load(path, _example)


def load_triples(path: str | Path, harmful_path: str | Path | None = None) -> list[Triple]:
    """Rows of `align`: preference rows, or two files of answers paired by line (the DOOR release)."""
    if harmful_path is None:
        return _load(path, _triple)
    good, bad = list(read_records(path)), list(read_records(harmful_path))
    if len(good) != len(bad):
        raise DataError(f"{path} has {len(good)} rows and {harmful_path} {len(bad)}, but they pair up by line.")
    if not good:
        raise DataError(f"{path}: got no rows, but at least one is needed.")
    return [_pair(Identity(str(path), i), one, other) for i, (one, other) in enumerate(zip(good, bad, strict=True))]


def _pair(identity: Identity, good: tuple[str, Record], bad: tuple[str, Record]) -> Triple:
    prompt, safe, prefix = prefixed_answer(good[1], good[0])
    other_prompt, harmful, other_prefix = prefixed_answer(bad[1], bad[0])
    if (prompt, prefix) != (other_prompt, other_prefix):
        raise DataError(f"{bad[0]}: its prompt or prefix differs from the paired row, {good[0]}.")
    return Triple(identity, prompt, safe, harmful, prefix)


def load_eval_prompts(path: str | Path) -> list[EvalPrompt]:
    """Rows of an evaluation file: a prompt, with `reference` and `harmful` answers where there are any."""
    return _load(path, eval_prompt)


def check_overlap(training: dict[str, list[Row]], evaluation: dict[str, list[EvalPrompt]]) -> None:
    """Evaluation prompts are never trained on. Raises DataError naming both files and the row."""
    for name, rows in training.items():
        known = prompt_hashes(rows)
        for suite, prompts in evaluation.items():
            for prompt in prompts:
                if prompt_hashes([prompt]) <= known:
                    role = suite if suite.startswith("evaluation.") else f"evaluation.{suite}"
                    where = f"{role} ({prompt.identity.source}), row {prompt.identity.index + 1}"
                    raise DataError(
                        f"{where}: this prompt is also one of {key_of(name)}; scores on prompts that were trained on mean "
                        "nothing. Remove it from one of the two."
                    )


def faults(path: str | Path, role: str) -> list[str]:
    """What is wrong with the rows of a file, row by row, up to `MOST_FAULTS` of them; a file that can't be read is one."""
    found: list[str] = []
    try:
        for index, (place, record) in enumerate(read_records(Path(path))):
            try:
                ROW_READERS.get(role, eval_prompt)(Identity(str(path), index), record, place)
            except DataError as error:
                found.append(str(error))
                if len(found) == MOST_FAULTS:
                    break
    except DataError as error:
        found.append(str(error))
    return found


MOST_FAULTS = 20


def _load(path: str | Path, read: Callable[[Identity, Record, str], T]) -> list[T]:
    rows = list(_rows(Path(path), read))
    if not rows:
        raise DataError(f"{path}: got no rows, but at least one is needed.")
    return rows


def _rows(path: Path, read: Callable[[Identity, Record, str], T]) -> Iterator[T]:
    for index, (place, record) in enumerate(read_records(path)):
        yield read(Identity(str(path), index), record, place)


def _example(identity: Identity, record: Record, place: str) -> Example:
    prompt, response = prompt_and_answer(record, place)
    kind, unsafe = optional_text(record, "kind", place), truth(record, "unsafe", place)
    return Example(identity, prompt, response, kind, unsafe, _origin(record))


def _triple(identity: Identity, record: Record, place: str) -> Triple:
    return Triple(identity, *preference(record, place))


def _origin(record: Record) -> str | None:
    """The row's own `source`, which is many things in public data: only a text is taken for a name."""
    source = record.get("source")
    return source if isinstance(source, str) and source else None


ROW_READERS: dict[str, Callable[[Identity, Record, str], Row]] = {"finetune": _example, "safe": _example, "align": _triple}
"""How a row of a role that is trained on is read; all others are evaluation prompts."""
