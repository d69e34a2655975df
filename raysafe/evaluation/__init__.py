"""Attacks, judges and metrics with intervals."""

from raysafe.evaluation.attacks import ATTACKS
from raysafe.evaluation.judges import JUDGES

__all__ = ["ATTACKS", "JUDGES"]
