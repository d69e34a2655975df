"""Probes. Adding one is a new file with a frozen class (see `base.py`) and a line in `PROBES`."""

from raysafe.evaluation.probes.base import Probe, Reading, Subject, Value
from raysafe.evaluation.probes.depth import Depth
from raysafe.evaluation.probes.harness import Harness
from raysafe.evaluation.probes.refusal_margin import RefusalMargin

PROBES: dict[str, type[Probe]] = {
    "refusal_margin": RefusalMargin,
    "depth": Depth,
    "harness": Harness,
}

__all__ = ["PROBES", "Probe", "Reading", "Subject", "Value"]
