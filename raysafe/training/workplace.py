"""Where a stage works: its context, how models are trained there, and its two folders."""

from dataclasses import dataclass
from pathlib import Path

from raysafe.context import Context
from raysafe.training.engine import Engines


@dataclass(frozen=True)
class Workplace:
    """`folder`: rank 0 writes the result's files there. `workspace`: what a second attempt goes on from."""

    context: Context
    engines: Engines
    folder: Path
    workspace: Path
