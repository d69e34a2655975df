"""What a stage is: a frozen class that says what it depends on, and a `run` that makes its files and returns its result.

A stage's key is the fingerprint of its fields; fields that only say where something lies are off the key. Every worker of a
group calls `run`; rank 0 alone writes files.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import TypeAdapter

from raysafe.artifacts import Artifact
from raysafe.training.workplace import Workplace

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True)
class Nothing:
    """The result of a stage that has nothing to say beside its files."""


class Stage(Protocol[R_co]):
    """What a worker group runs. `label` is what people call it; `shared` tells stages that several trials read from a trial's
    own; `Result` is the frozen class of what `run` returns, which the manifest keeps as plain values."""

    kind: ClassVar[str]
    Result: ClassVar[type[Any]]

    @property
    def label(self) -> str: ...

    @property
    def shared(self) -> bool: ...

    def run(self, place: Workplace) -> R_co: ...


@dataclass(frozen=True)
class Made(Generic[R]):
    """A stage whose files are there. `kind_of_result` is its stage's `Result`."""

    artifact: Artifact
    kind_of_result: type[R]

    @property
    def result(self) -> R:
        """What the stage said of itself, from its manifest."""
        return read_result(self.kind_of_result, self.artifact.result)


class Pending(Protocol[R]):
    """A stage that is on its way."""

    def wait(self) -> Made[R]:
        """Its result, once it is there. Raises StageError if it failed, StageStopped if it was stopped."""
        ...


Watch = Callable[[int, Mapping[str, float]], None]
"""Sees (step, metrics) of every point of a stage, those that were told before, too. What it raises, its trial's wait raises."""


class Launch(Protocol):
    """How stages are run: begin one, at once where there is room, and go on; its `Pending` gives the result."""

    def __call__(self, stage: Stage[R], watch: Watch | None = None) -> Pending[R]: ...


def read_result(kind: Any, plain: Any) -> Any:
    """A stage's result from the plain values of its manifest."""
    return _adapter(kind).validate_python(plain)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
