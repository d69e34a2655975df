"""Where sweeps lie: the names of a storage's folders and files; nothing heavy is imported."""

import os
from pathlib import Path

STORAGE = "runs"
"""Where results go unless told otherwise, under the current folder."""
SWEEP = "sweep.yaml"


def default_storage() -> Path:
    """`RAYSAFE_STORAGE`, or `runs` under the current folder."""
    return Path(os.environ.get("RAYSAFE_STORAGE", STORAGE))
