"""How deep training went: how far a model's next token has moved from the base model's, by position in a harmful answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from raysafe.data.tokens import TokenRow
from raysafe.errors import require
from raysafe.evaluation.probes.base import Probe, Reading, Subject, Value, by_depth, in_batches


@dataclass(frozen=True)
class Depth(Probe):
    """KL(pi_trial(. | x, y_h[:k-1]) || pi_base(. | x, y_h[:k-1])) at the k-th token of harmful answers y_h, in nats, over the
    whole vocabulary (arXiv:2406.05946, figure 1: shallow alignment has changed the first few tokens alone)."""

    name: ClassVar[str] = "depth"
    figure: ClassVar[str] = "kl_depth"
    needs_base: ClassVar[bool] = True

    tokens: int = 20
    """Positions k = 1 .. tokens; answers that end before k are left out of it."""

    def __post_init__(self) -> None:
        require(self.tokens > 0, "tokens > 0", self.tokens)

    def read(self, subject: Subject) -> Reading:
        """Both models on the same rows, batch by batch; the mean over prompts of each position."""
        assert subject.base is not None  # or it would not be asked
        open_base = subject.base

        def work(batch: Sequence[TokenRow]) -> list[list[float]]:
            ours_LV = subject.policy.label_logits(batch)
            with open_base() as base:
                theirs_LV = base.label_logits(batch)
            return [part.tolist() for part in divergence(ours_LV, theirs_LV).split([row.label_count for row in batch])]

        rows = [row for place, prompt in enumerate(subject.prompts) if (row := self._row(subject, place)).label_count]
        found = in_batches(rows, lambda row: (len(row.input_ids), row.label_count), work, subject.context)
        values = [
            Value(str(k), prompt.identity.index, prompt.content_hash, value)
            for row, by_position in zip(rows, found, strict=True)
            for k, value in enumerate(by_position, start=1)
            for prompt in [subject.prompts[row.index]]
        ]
        return Reading(by_depth(self.figure, values, least=0.0), values, {})

    def _row(self, subject: Subject, place: int) -> TokenRow:
        prompt = subject.prompts[place]
        turn = subject.chat.turn(prompt.prompt, prompt.harmful or "")
        start = (*turn.prompt, *turn.opening)
        return TokenRow(place, (*start, *turn.answer[: self.tokens]), len(start))


def divergence(ours_LV: Tensor, theirs_LV: Tensor, rows: int = 32) -> Tensor:
    """KL(softmax(ours) || softmax(theirs)) of every row, shape L, in float64; so many rows at once."""
    parts = []
    for one_CV, other_CV in zip(ours_LV.split(rows), theirs_LV.split(rows), strict=True):
        log_p_CV, log_q_CV = (torch.log_softmax(logits_CV.double(), dim=-1) for logits_CV in (one_CV, other_CV))
        parts.append((log_p_CV.exp() * (log_p_CV - log_q_CV)).sum(dim=-1))
    return torch.cat(parts).clamp_min(0.0)
