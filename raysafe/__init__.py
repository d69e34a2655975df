"""raysafe: sweeps of SEAL data selection and DOOR / W-DOOR safety alignment on Ray.

`load_sweep`, `run_sweep` and `run_trial` are imported on first use, so that `import raysafe` starts nothing heavy.
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ["load_sweep", "run_sweep", "run_trial", "__version__"]

_HOMES = {"load_sweep": "raysafe.config.sweeps", "run_sweep": "raysafe.cluster.running", "run_trial": "raysafe.trial"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'raysafe' has no attribute {name!r}")
