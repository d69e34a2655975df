"""Objectives: one loss a file, all on per-token label log-probabilities; none runs a model.

Adding one is a new file with a frozen class (see `base.py` for what it must say of itself) and a line in `OBJECTIVES`.
"""

from raysafe.objectives.base import Objective, Stream, StreamLogProbs, sequence_log_prob
from raysafe.objectives.door import Door
from raysafe.objectives.dpo import Dpo
from raysafe.objectives.ga import Ga
from raysafe.objectives.ga_released import GaReleased
from raysafe.objectives.npo import Npo
from raysafe.objectives.reduce import batch_means, total_loss
from raysafe.objectives.refusal import Refusal
from raysafe.objectives.refusal_released import RefusalReleased
from raysafe.objectives.sft import Sft
from raysafe.objectives.wdoor import WDoor

OBJECTIVES: dict[str, type[Objective]] = {
    "sft": Sft,
    "refusal": Refusal,
    "ga": Ga,
    "npo": Npo,
    "dpo": Dpo,
    "door": Door,
    "wdoor": WDoor,
    "refusal_released": RefusalReleased,
    "ga_released": GaReleased,
}

__all__ = ["OBJECTIVES", "Objective", "Stream", "StreamLogProbs", "batch_means", "sequence_log_prob", "total_loss"]
