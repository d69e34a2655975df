"""Where sweeps lie: the names of a storage's folders and files; nothing heavy is imported."""

import os
from pathlib import Path

from raysafe.report import sweep_file

STORAGE = "runs"
"""Where results go unless told otherwise, under the current folder."""
SWEEP, CONFIG = sweep_file.SWEEP, "config.yaml"
"""What a sweep writes into its own folder, and into each trial's."""


def default_storage() -> Path:
    """`RAYSAFE_STORAGE`, or `runs` under the current folder."""
    return Path(os.environ.get("RAYSAFE_STORAGE", STORAGE))
