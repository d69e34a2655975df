"""The model as the loops see it: token rows in, label log-probabilities and a loss out.

Packed, the rows make one line without padding and the head runs at label positions only (`attention.py`, `head.py`). A model
that can't do that, or computes something else that way, is run on padded rows, with the same result.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from raysafe.config.sections import Batching
from raysafe.data.packing import pack
from raysafe.data.tokens import TokenRow
from raysafe.errors import StageError
from raysafe.models import attention
from raysafe.models.head import CheckpointedHead, LabelHead, LossOf
from raysafe.models.log_probs import padded_label_log_probs


class Policy(torch.nn.Module):
    """`model` is the Hugging Face model in it, under whose names parameters are known."""

    def __init__(self, model: Any, batching: Batching = "auto", gradient_checkpointing: bool = False) -> None:
        super().__init__()
        self.model = model
        self.head: LabelHead | CheckpointedHead | None = None
        if batching != "padded":
            self.head = _packed_head(model)
        elif _switched(model):
            _causal(model).set_attn_implementation(_own_attention(model))
        if batching == "packed" and self.head is None:
            raise StageError(
                f"`training.batching`: got packed, but {type(_causal(model)).__name__} computes something else on packed rows "
                "than on padded ones, or can't run them; take auto or padded."
            )
        if gradient_checkpointing:
            causal = _causal(model)
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
        if before == attention.NAME:
            causal.set_attn_implementation(_own_attention(self.model))
        self.model.eval()
        try:
            yield self.model
        finally:
            self.model.train(training)
            if before == attention.NAME:
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
        decoder = _causal(self.model).get_decoder()
        hidden_ND = decoder(
            input_ids=packed.input_ids_1N, position_ids=packed.position_ids_1N, use_cache=False, segments=packed.segments
        ).last_hidden_state[0]
        if linear_L is None:
            linear_L = torch.zeros(len(packed.labels_L), dtype=torch.bool)
        return self.head(hidden_ND[packed.sources_L], packed.labels_L, linear_L.to(device), loss_of)


def _causal(model: Any) -> Any:
    """The causal language model, adapters injected, without an adapter's wrapper."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _own_attention(model: Any) -> str:
    """The attention that a model of its kind is loaded with."""
    return "sdpa" if _causal(model)._supports_sdpa else "eager"


def _packed_head(model: Any) -> LabelHead | CheckpointedHead | None:
    """The head for packed rows, with the model's attention switched over; None, and nothing switched, if the model can't."""
    causal = _causal(model)
    if not getattr(causal, "_supports_attention_backend", False):
        return None
    head = causal.get_output_embeddings()
    softcap = getattr(causal.config.get_text_config(), "final_logit_softcapping", None)
    made: LabelHead | CheckpointedHead
    if type(head) is torch.nn.Linear and head.bias is None:
        made = LabelHead(head.weight, softcap)
    elif softcap is None:
        made = CheckpointedHead(head)
    else:
        return None
    return made if _switched(model) or _agrees(model, made) else None


def _switched(model: Any) -> bool:
    """Whether the model's attention is that of packed rows, as it was in another policy before."""
    return _causal(model).config._attn_implementation == attention.NAME


def _agrees(model: Any, head: LabelHead | CheckpointedHead) -> bool:
    """Whether packed rows have the log-probabilities of padded ones, on a few tokens; switches the attention over if so."""
    causal, training = _causal(model), model.training
    before = causal.config._attn_implementation
    policy = Policy(model.eval(), "padded")
    rows = _probe(causal.config.get_text_config().vocab_size)
    try:
        with torch.no_grad():
            expected_L = policy(rows)[1]
            attention.register()
            causal.set_attn_implementation(attention.NAME)
            policy.head = head
            tolerance = 1e-3 if causal.dtype in (torch.float32, torch.float64) else 0.3
            agrees = torch.allclose(policy(rows)[1], expected_L, rtol=tolerance, atol=tolerance)
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError):
        agrees = False
    if not agrees:
        causal.set_attn_implementation(before)
    model.train(training)
    return agrees


def _probe(vocabulary: int) -> list[TokenRow]:
    """A pair that shares its prompt, and a longer row."""
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(0, vocabulary, (60,), generator=draw).tolist()
    prompt = tuple(ids[:10])
    return [
        TokenRow(0, (*prompt, *ids[10:17]), 10),
        TokenRow(0, (*prompt, *ids[17:28]), 10),
        TokenRow(1, tuple(ids[28:60]), 3),
    ]
