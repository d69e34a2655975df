"""The model as the loops see it: token rows in, label log-probabilities and a loss out.

Packed, the rows make one line without padding and the head runs at label positions only (`attention.py`, `head.py`). A model
that can't do that, or computes something else that way, is run on padded rows, with the same result.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

from raysafe.config.sections import Batching
from raysafe.data.packing import Packed, filled, pack
from raysafe.data.tokens import TokenRow
from raysafe.errors import StageError
from raysafe.models import attention, probe
from raysafe.models.head import CheckpointedHead, LabelHead, LossOf
from raysafe.models.log_probs import padded_label_log_probs, padded_label_logits


class Policy(torch.nn.Module):
    """`model` is the Hugging Face model in it, under whose names parameters are known."""

    def __init__(self, model: Any, batching: Batching = "auto", gradient_checkpointing: bool = False) -> None:
        super().__init__()
        self.model = model
        self.head: LabelHead | CheckpointedHead | None = None
        causal = _causal(model)
        if batching != "padded":
            self.head = _packed_head(causal)
        if batching == "packed" and self.head is None:
            raise StageError(
                f"`training.batching`: got packed, but {type(causal).__name__} computes something else on packed rows "
                "than on padded ones, or can't run them; take auto or padded."
            )
        if self.head is not None:
            attention.register()
        elif batching == "auto":
            _say_padded(type(causal).__name__)
        causal.set_attn_implementation(_padded_attention(causal) if self.head is None else attention.NAME)
        if gradient_checkpointing:
            causal.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})

    @property
    def batching(self) -> str:
        """What it does: packed or padded."""
        return "padded" if self.head is None else "packed"

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @contextmanager
    def generating(self) -> Iterator[Any]:
        """The model in evaluation mode with the attention that it is loaded with, and afterwards as it was."""
        causal, training = _causal(self.model), self.model.training
        before = causal.config._attn_implementation
        causal.set_attn_implementation("sdpa" if causal._supports_sdpa else "eager")
        self.model.eval()
        try:
            yield self.model
        finally:
            self.model.train(training)
            causal.set_attn_implementation(before)

    def forward(
        self, rows: Sequence[TokenRow], linear_L: Tensor | None = None, loss_of: LossOf | None = None
    ) -> tuple[Tensor | None, Tensor]:
        """(loss, log_probs_L) of some rows; labels stand row by row.

        loss_of: log_probs_L to a scalar loss; the loss that comes back has its value, and its gradient in the parameters.
        linear_L: bool, the labels in which `loss_of` is linear; none where it is left out. log_probs_L: float32, no gradient.
        """
        device = self.device
        if self.head is None:
            log_probs_L = padded_label_log_probs(self.model, rows, device)
            return (None if loss_of is None else loss_of(log_probs_L)), log_probs_L.detach()
        packed = pack(rows, device)
        if linear_L is None:
            linear_L = torch.zeros(len(packed.labels_L), dtype=torch.bool)
        return self.head(_hidden(_causal(self.model), packed), packed.labels_L, linear_L.to(device), loss_of)

    @torch.no_grad()
    def label_logits(self, rows: Sequence[TokenRow]) -> Tensor:
        """Logits at every label of some rows, shape LV, row by row, in float32 (float64 of a float64 model), without gradient: of
        few labels, as all of them are there at once."""
        if self.head is None:
            return padded_label_logits(self.model, rows, self.device)
        packed = pack(rows, self.device)
        return self.head.logits(_hidden(_causal(self.model), packed))


@contextmanager
def lent(model: Any) -> Iterator[Policy]:
    """A policy on a model that is somebody else's, to read it: its attention is afterwards what it was."""
    causal = _causal(model)
    before = causal.config._attn_implementation
    try:
        yield Policy(model).eval()
    finally:
        causal.set_attn_implementation(before)


def _hidden(causal: Any, packed: Packed) -> Tensor:
    """Hidden states that predict a label, shape LE."""
    line, decoder = filled(packed), causal.get_decoder()
    outputs = decoder(input_ids=line.input_ids_1S, position_ids=line.position_ids_1S, use_cache=False, segments=line.segments)
    return outputs.last_hidden_state[0, packed.sources_L]


@cache
def _say_padded(name: str) -> None:
    """Once a process."""
    logging.getLogger(__name__).warning("%s: packed rows can't be vouched for, so its rows are padded.", name)


def _causal(model: Any) -> Any:
    """The causal language model, adapters injected, without an adapter's wrapper."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _padded_attention(causal: Any) -> str:
    """Plain attention, whose values in a row don't depend on how far the row is padded (torch's kernel sums in other blocks
    then); its masks are too wide for float64."""
    return "sdpa" if causal.dtype == torch.float64 and causal._supports_sdpa else "eager"


def _packed_head(causal: Any) -> LabelHead | CheckpointedHead | None:
    """The head for packed rows; None if the model can't, or computes something else there."""
    made = _head(causal)
    return made if made is not None and probe.agrees(causal, _packed_log_probs, _padded_log_probs) else None


def _head(causal: Any) -> LabelHead | CheckpointedHead | None:
    if not getattr(causal, "_supports_attention_backend", False):
        return None
    head = causal.get_output_embeddings()
    softcap = getattr(causal.config.get_text_config(), "final_logit_softcapping", None)
    if type(head) is torch.nn.Linear and head.bias is None:
        return LabelHead(head.weight, softcap)
    return CheckpointedHead(head) if softcap is None else None


def _packed_log_probs(causal: Any, rows: Sequence[TokenRow]) -> Tensor:
    attention.register()
    causal.set_attn_implementation(attention.NAME)
    head, packed = _head(causal), pack(rows, causal.device)
    assert head is not None  # or it would not be asked
    return head(_hidden(causal, packed), packed.labels_L, torch.zeros_like(packed.labels_L, dtype=torch.bool), None)[1]


def _padded_log_probs(causal: Any, rows: Sequence[TokenRow]) -> Tensor:
    causal.set_attn_implementation(_padded_attention(causal))
    return padded_label_log_probs(causal, rows, causal.device)
