"""Selectors: what scores the rows of the fine-tuning data.

Adding one is a new file with a frozen class (see `base.py`) and a line in `SELECTORS`.
"""

from raysafe.selection.base import Selector
from raysafe.selection.dsir import Dsir
from raysafe.selection.everything import Everything
from raysafe.selection.loss import Loss
from raysafe.selection.random import Random
from raysafe.selection.seal import Seal
from raysafe.selection.top import kept_count, ranks, top_percent

SELECTORS: dict[str, type[Selector]] = {
    "seal": Seal,
    "loss": Loss,
    "dsir": Dsir,
    "random": Random,
    "none": Everything,
}

__all__ = ["SELECTORS", "Dsir", "Seal", "Selector", "kept_count", "ranks", "top_percent"]
