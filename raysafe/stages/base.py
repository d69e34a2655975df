"""What a stage is: a frozen class that says what it depends on, and a `run` that makes its files.

A stage's key is the fingerprint of its fields; fields that only say where something lies are off the key. Every worker of
a group calls `run`; rank 0 alone writes into `folder`, `workspace` keeps what a second attempt can go on from.
"""

from pathlib import Path
from typing import Any, ClassVar, Protocol

from raysafe.context import Context


class Stage(Protocol):
    """What a worker group runs. `run` returns what the manifest says of the result.

    `label` is what people call it; `shared` tells stages that several trials read from a trial's own.
    """

    kind: ClassVar[str]

    @property
    def label(self) -> str: ...

    @property
    def shared(self) -> bool: ...

    def run(self, context: Context, folder: Path, workspace: Path) -> dict[str, Any]: ...
