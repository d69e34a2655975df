"""Greedy answers of a model to tokenized prompts."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

Generate = Callable[[Sequence[Sequence[int]]], list[list[int]]]
"""Token ids of prompts (with any prefilled answer) in, token ids of the continuations out, in the same order."""


@torch.no_grad()
def greedy(model: Any, prompts: Sequence[Sequence[int]], pad_id: int, stop_id: int, max_new_tokens: int) -> list[list[int]]:
    """Greedy continuations of one batch, padded on the left, without the stop token.

    In float32 they don't depend on the batch's company but for ties to rounding; in bf16 they do.
    """
    if not prompts:
        return []
    device = next(model.parameters()).device
    longest = max(map(len, prompts))
    rows = [[pad_id] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    tokens = model.generate(
        input_ids=torch.tensor(rows, device=device),
        attention_mask=torch.tensor(mask, device=device),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,  # a model folder may bring settings of its own (Qwen2.5: 1.05), which are not greedy
        no_repeat_ngram_size=0,
        use_cache=True,
        pad_token_id=pad_id,
        eos_token_id=stop_id,
    )[:, longest:].tolist()
    return [_until(row, stop_id) for row in tokens]


def _until(tokens: list[int], stop_id: int) -> list[int]:
    return tokens[: tokens.index(stop_id)] if stop_id in tokens else tokens
