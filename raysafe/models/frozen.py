"""Label log-probabilities of models that never change, in the precision and on the path of the policy they are compared with.

A row's values don't depend, to the bit, on the rows beside it, so that a frozen model answers as the untrained policy does in any
batch (docs/methods.md, Frozen models, has the bounds of that).
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from raysafe.config.sections import Batching, Precision
from raysafe.context import Context
from raysafe.data.tokens import TokenRow
from raysafe.models.loading import freeze
from raysafe.models.log_probs import frozen_label_log_probs
from raysafe.models.policy import Policy

FROZEN_BATCH = 16
"""Rows that a frozen model is run on at once."""


def frozen_policy(load: Callable[[], Any], precision: Precision, batching: Batching, context: Context) -> Policy:
    """What `load` gives (a float32 model), without gradients, ready for token rows; in bf16 rounded as an engine rounds it."""
    policy = Policy(freeze(load()), batching).eval().to(context.device)
    if precision == "bf16":
        for parameter in policy.parameters():  # buffers, as rotary frequencies, stay float32 in an engine
            parameter.data = parameter.data.bfloat16()
    return policy


def frozen_log_probs(policy: Policy, rows: Sequence[TokenRow], context: Context) -> list[Tensor]:
    """Label log-probabilities of every row, computed by all workers, on all ranks."""
    mine = range(context.rank, len(rows), context.world_size)
    values = frozen_label_log_probs(policy, [rows[place] for place in mine], FROZEN_BATCH)
    parts = context.gather(dict(zip(mine, values, strict=True)))
    whole = {place: value for part in parts for place, value in part.items()}
    return [whole[place] for place in range(len(rows))]
