"""What a judge's model is asked with: a text from a file of the user's, or from an installed package. No text of others is here.

A file is a Jinja template, run in Jinja's sandbox: it reads `prompt`, `answer`, `reference` and `conversation` and can do nothing
else. Of a package also a constant of its source can be taken, as `package:NAME/file.py#Class.CONSTANT`: it is read, nothing of
the package is imported or run, and `{names}` in braces stand for the same variables.
"""

import ast
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from raysafe.data.records import Conversation, Message
from raysafe.data.sources import stamp
from raysafe.errors import DataError
from raysafe.evaluation.judges.base import Question

PACKAGE = "package:"
TOKENIZER = "tokenizer"
"""What stands in a template's place where the judge's tokenizer brings it."""
BRACES = {
    **dict.fromkeys(("prompt", "behavior", "question", "goal", "request", "task", "instruction"), "prompt"),
    **dict.fromkeys(("answer", "generation", "response", "target_response"), "answer"),
    "reference": "reference",
}
"""What others call in braces what is `prompt`, `answer` and `reference` here."""
_BRACE = re.compile(r"\{(" + "|".join(BRACES) + r")\}")
_ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)


@dataclass(frozen=True)
class Template:
    """`turns`: role and text of each turn of a conversation, or one text without a role. jinja: whether texts are Jinja, else
    names stand in braces. where: as errors name it."""

    turns: tuple[tuple[str, str], ...]
    jinja: bool
    where: str

    @property
    def fingerprint(self) -> str:
        """16 hex digits over the texts and how they are read, wherever they lie: part of a judge's key."""
        return hashlib.sha256(repr((self.turns, self.jinja)).encode()).hexdigest()[:16]

    def render(self, values: Mapping[str, Any]) -> str | Conversation:
        """The text, or the conversation, with values in place of variables. Raises DataError where the template fails."""
        turns = [Message(role or "user", self._text(text, values)) for role, text in self.turns]  # type: ignore[arg-type]
        return tuple(turns) if self.turns[0][0] else turns[0].content

    def _text(self, text: str, values: Mapping[str, Any]) -> str:
        if not self.jinja:
            return _BRACE.sub(lambda found: str(values[BRACES[found.group(1)]]), text)
        try:
            return _compiled(text).render(values)
        except Exception as error:  # whatever its expressions raise
            takes = ", ".join(sorted(values))
            raise DataError(f"{self.where}: the template fails: {error}. It may read {takes}.") from error


def variables_of(question: Question) -> dict[str, Any]:
    """What a template may read of a question: `prompt`, the last turn of the prompt's row (what an attack is after, however it
    was asked); `answer`; `reference` (empty without one); `conversation`, the turns before the answer as the model saw them."""
    turns = [{"role": turn.role, "content": turn.content} for turn in question.asked]
    reference = question.prompt.reference or ""
    return {"prompt": last_turn(question), "answer": question.answer, "reference": reference, "conversation": turns}


def last_turn(question: Question) -> str:
    """The request itself."""
    return question.prompt.prompt[-1].content


def find_template(named: str, key: str) -> Template:
    """The template that a setting names: a file, or `package:NAME/PATH`, with `#CONSTANT` behind a .py file.

    Raises DataError, with the setting's key, where it isn't there or is no template.
    """
    file, _, constant = named.partition("#") if named.startswith(PACKAGE) else (named, "", "")
    path = _in_package(file, key) if file.startswith(PACKAGE) else Path(file)
    return _read(str(path), constant, f"`{key}`: {named}", stamp(path))


def _in_package(named: str, key: str) -> Path:
    name, _, inside = named.removeprefix(PACKAGE).partition("/")
    try:
        spec = find_spec(name) if name.isidentifier() else None
    except (ImportError, ValueError):
        spec = None
    folders: Sequence[str] = list(spec.submodule_search_locations or ()) if spec is not None else ()
    if not folders:
        raise DataError(f"`{key}`: {named}: no package {name!r} is installed; install it, or name a template of your own.")
    path = Path(folders[0]) / inside
    if not path.resolve().is_relative_to(Path(folders[0]).resolve()):
        raise DataError(f"`{key}`: {named}: it leads out of the package.")
    return path


@lru_cache(maxsize=32)
def _read(path: str, constant: str, where: str, stamps: tuple[Any, ...]) -> Template:
    """Read once as long as the file stays what it is."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{where}: can't be read ({error}). It takes a text file: a Jinja template.") from error
    if constant:
        return Template(_turns(_constant(text, constant, where), where), False, where)
    if path.endswith(".py"):
        raise DataError(f"{where}: of a .py file a constant is taken, named behind it: {PACKAGE}NAME/file.py#CONSTANT.")
    try:
        _compiled(text)
    except TemplateError as error:
        raise DataError(f"{where}: no Jinja template: {error}.") from error
    return Template((("", text),), True, where)


@lru_cache(maxsize=64)
def _compiled(text: str) -> Any:
    return _ENVIRONMENT.from_string(text)


def _constant(source: str, dotted: str, where: str) -> Any:
    """The literal that a module or a class of it assigns to a name."""
    body: list[ast.stmt] = _parsed(source, where).body
    *classes, name = dotted.split(".")
    for wanted in classes:
        body = next((node.body for node in body if isinstance(node, ast.ClassDef) and node.name == wanted), [])
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            try:
                return ast.literal_eval(node.value)  # type: ignore[attr-defined]
            except ValueError as error:
                raise DataError(f"{where}: `{dotted}` is computed, but a constant is taken.") from error
    raise DataError(f"{where}: there is no constant `{dotted}`.")


def _parsed(source: str, where: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise DataError(f"{where}: not readable as Python ({error}).") from error


def _turns(value: Any, where: str) -> tuple[tuple[str, str], ...]:
    """A text, or a list of turns with `role` and `content`."""
    if isinstance(value, str):
        return (("", value),)
    turns = value if isinstance(value, list | tuple) else []
    texts = [(turn.get("role"), turn.get("content")) if isinstance(turn, dict) else () for turn in turns]
    if not texts or not all(text and all(isinstance(part, str) for part in text) for text in texts):
        takes = "a text or a list of turns with `role` and `content`"
        raise DataError(f"{where}: got a {type(value).__name__}, but it takes {takes}.")
    return tuple((turn["role"], turn["content"]) for turn in turns)
