"""Attacks, judges, probes and metrics with intervals."""

from raysafe.evaluation.attacks import ATTACKS
from raysafe.evaluation.judges import JUDGES
from raysafe.evaluation.probes import PROBES

__all__ = ["ATTACKS", "JUDGES", "PROBES"]
