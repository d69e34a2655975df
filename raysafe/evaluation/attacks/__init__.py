"""Attacks. Adding one is a new file with a frozen class (see `base.py`) and a line in `ATTACKS`."""

from raysafe.evaluation.attacks.base import Attack, Case, Victim, case
from raysafe.evaluation.attacks.direct import Direct
from raysafe.evaluation.attacks.escalating import Escalating
from raysafe.evaluation.attacks.gcg import Gcg
from raysafe.evaluation.attacks.multi_turn import MultiTurn
from raysafe.evaluation.attacks.prefill import Prefill
from raysafe.evaluation.attacks.relearn import Relearn
from raysafe.evaluation.attacks.suffix import Suffix

ATTACKS: dict[str, type[Attack]] = {
    "direct": Direct,
    "prefill": Prefill,
    "multi_turn": MultiTurn,
    "escalating": Escalating,
    "suffix": Suffix,
    "gcg": Gcg,
    "relearn": Relearn,
}

__all__ = ["ATTACKS", "Attack", "Case", "Direct", "Escalating", "MultiTurn", "Prefill", "Suffix", "Victim", "case"]
