"""Label log-probabilities of a model on token rows."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from raysafe.data.batches import pad_rows, whole_blocks
from raysafe.data.tokens import TokenRow


def padded_label_log_probs(model: Any, rows: Sequence[TokenRow], device: torch.device | str = "cpu") -> Tensor:
    """log pi(token_t | tokens before t) of every label, shape L, row by row, with gradient.

    The rows are padded on the right. The softmax runs over label positions only, in float32 whatever the model's dtype, or in
    float64 for a float64 model.
    """
    length = whole_blocks(max(len(row.input_ids) for row in rows))
    input_ids_BP, attention_mask_BP, label_mask_BP = (tensor.to(device) for tensor in pad_rows(rows, 0, length))
    logits_BPV = model(input_ids=input_ids_BP, attention_mask=attention_mask_BP, use_cache=False).logits
    is_label_BP = label_mask_BP.bool()
    logits_LV = logits_BPV[:, :-1][is_label_BP[:, 1:]]
    wide = torch.float64 if logits_LV.dtype == torch.float64 else torch.float32
    return -torch.nn.functional.cross_entropy(logits_LV.to(wide), input_ids_BP[is_label_BP], reduction="none")


@torch.no_grad()
def padded_label_logits(model: Any, rows: Sequence[TokenRow], device: torch.device | str = "cpu") -> Tensor:
    """Logits that predict every label, shape LV, row by row, in the softmax's dtype. Where the model allows it the head runs only
    from the first label of all rows on."""
    input_ids_BP, attention_mask_BP, label_mask_BP = (tensor.to(device) for tensor in pad_rows(rows, 0))
    first = min(row.label_start for row in rows) - 1
    kept = input_ids_BP.shape[1] - first
    only = {"logits_to_keep": kept} if "logits_to_keep" in inspect.signature(_plain(model).forward).parameters else {}
    logits_BPV = model(input_ids=input_ids_BP, attention_mask=attention_mask_BP, use_cache=False, **only).logits
    logits_LV = logits_BPV[:, -kept:][:, :-1][label_mask_BP[:, first + 1 :].bool()]
    return logits_LV.to(torch.float64 if logits_LV.dtype == torch.float64 else torch.float32)


def _plain(model: Any) -> Any:
    """The model without an adapter's wrapper, whose signature says nothing."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@torch.no_grad()
def frozen_label_log_probs(policy: Any, rows: Sequence[TokenRow], batch_size: int) -> list[Tensor]:
    """Label log-probabilities of every row under a frozen policy: on the CPU, one tensor of label_count a row.

    Rows are batched by length, which saves padding where there is any, and returned in their own order.
    """
    result: list[Tensor] = [torch.empty(0)] * len(rows)
    order = sorted(range(len(rows)), key=lambda place: len(rows[place].input_ids))
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        log_probs_L = policy([rows[place] for place in places])[1].cpu()
        for place, values in zip(places, log_probs_L.split([rows[place].label_count for place in places]), strict=True):
            result[place] = values.clone()
    return result
