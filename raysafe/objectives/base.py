"""What an objective is, and the tensors it works on.

Shapes: B rows of a stream, T label positions. Log-probabilities are those of the label tokens only; `mask_BT` is 1.0 at
a label and 0.0 elsewhere. Notation as in docs/methods.md: pi_theta the policy, pi_ref and pi_dpo frozen models.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

from torch import Tensor

Stream = Literal["retain", "safe", "harmful"]
FrozenModel = Literal["reference", "proxy"]


@dataclass(frozen=True)
class StreamLogProbs:
    """Per-token label log-probabilities of one stream of a batch.

    policy_BT: float, log pi_theta(y_t | ...), with gradient. mask_BT: float, 1.0 at labels.
    frozen: name of a frozen model to its float log-probabilities, shape BT, without gradient.
    The other fields are read by losses that repeat the released DOOR code, and by no others.
    """

    policy_BT: Tensor
    mask_BT: Tensor
    frozen: Mapping[str, Tensor]
    padded: int | None = None
    """Positions of a row that `*_released` losses average over, padding included; T where it is left out. The released
    data pads to 512 tokens, of which 511 are predicted."""
    lengths_B: Tensor | None = None
    """Attended tokens of prompt and answer of each row, float or int, shape B: what W-DOOR's `released` and `released_sum`
    unlearning divide by."""
    step_rows: int | None = None
    """Rows of this stream in the whole optimiser step, over all micro-batches and workers; B where it is left out. For
    `released_sum`."""


@runtime_checkable
class Objective(Protocol):
    """A frozen dataclass: its fields are the hyper-parameters, its call is the formula.

    Attributes of the class, from which data columns, frozen models and prefixes are derived:
      alignment: the streams its alignment term reads, in no particular order; empty if it has none.
      linear: all streams in which each row's loss is linear in that stream's policy log-probabilities, with coefficients
        that depend on no policy log-probability. There the gradient is known before the log-probabilities are.
    Attributes of the class, or of the instance where they depend on its fields:
      frozen_models: for each stream, the frozen models whose log-probabilities it needs.
      prefixed: whether its alignment rows continue after a prefix of y_h (docs/methods.md, prefix augmentation).
    `alpha` weighs the alignment term against the retain term: alpha * align + (1 - alpha) * retain.
    """

    name: ClassVar[str]
    alignment: ClassVar[tuple[Stream, ...]]
    linear: ClassVar[tuple[Stream, ...]]

    @property
    def frozen_models(self) -> Mapping[Stream, tuple[FrozenModel, ...]]: ...

    @property
    def prefixed(self) -> bool: ...

    @property
    def alpha(self) -> float: ...

    def __call__(self, streams: Mapping[Stream, StreamLogProbs]) -> dict[str, Tensor]:
        """Per-example losses: {"align": loss_B, "retain": loss_B}, float; lengths may differ; "align" only if it has one."""
        ...


def sequence_log_prob(log_probs_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """log pi(y|x) per row, shape B: the sum of label log-probabilities (docs/methods.md, Notation).

    Positions outside the mask are replaced, not multiplied, so that an infinity there can't become NaN.
    """
    return log_probs_BT.masked_fill(mask_BT == 0, 0.0).sum(dim=-1)


def retain_loss(streams: Mapping[Stream, StreamLogProbs]) -> Tensor:
    """L_retain = -log pi_theta(y|x) per retained row, shape B."""
    retain = streams["retain"]
    return -sequence_log_prob(retain.policy_BT, retain.mask_BT)
