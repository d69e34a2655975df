"""Label log-probabilities of a model on token batches."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from raysafe.data.batches import pad_rows
from raysafe.data.tokens import TokenRow


def label_log_probs(model: Any, input_ids_BT: Tensor, attention_mask_BT: Tensor, label_mask_BT: Tensor) -> Tensor:
    """log pi(token_t | tokens before t) at label positions, 0.0 elsewhere; float32, shape BT, with gradient.

    Position t holds the log-probability of token t itself. The softmax runs in float32 and over label positions only,
    whatever the model's dtype.
    """
    logits_BTV = model(input_ids=input_ids_BT, attention_mask=attention_mask_BT, use_cache=False).logits
    is_label_BT = label_mask_BT.bool()
    labels_L = input_ids_BT[is_label_BT]
    logits_LV = logits_BTV[:, :-1][is_label_BT[:, 1:]].float()
    log_probs_L = -torch.nn.functional.cross_entropy(logits_LV, labels_L, reduction="none")
    return torch.zeros_like(label_mask_BT).masked_scatter(is_label_BT, log_probs_L)


@torch.no_grad()
def frozen_label_log_probs(
    model: Any, rows: Sequence[TokenRow], pad_id: int, batch_size: int, device: torch.device | str = "cpu"
) -> list[Tensor]:
    """Label log-probabilities of every row under a frozen model: float32 on the CPU, one tensor of label_count a row.

    Rows are batched by length to save padding and returned in their own order.
    """
    result: list[Tensor] = [torch.empty(0)] * len(rows)
    order = sorted(range(len(rows)), key=lambda place: len(rows[place].input_ids))
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        batch = [tensor.to(device) for tensor in pad_rows([rows[place] for place in places], pad_id)]
        log_probs_BT = label_log_probs(model, *batch).cpu()
        for line, place in enumerate(places):
            row = rows[place]
            result[place] = log_probs_BT[line, row.label_start : len(row.input_ids)].clone()
    return result
