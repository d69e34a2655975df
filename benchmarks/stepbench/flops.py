"""Floating-point operations: those that a step really uses, and the fewest that its mathematics needs."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, baddbmm_flop, sdpa_backward_flop_count, sdpa_flop_count

from raysafe.data.tokens import TokenRow
from stepbench.rows import Workload
from stepbench.shapes import Shape

aten = torch.ops.aten


def _addmm_in_place(own: Any, left: Any, right: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return 2 * left[0] * left[1] * right[1]


def _attention(query: Any, key: Any, value: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return sdpa_backward_flop_count(grad, query, key, value)


MISSING = {
    aten.addmm_: _addmm_in_place,
    aten.baddbmm_: baddbmm_flop,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
"""Kernels that torch's counter does not know. Attention counts as torch counts it on a GPU: every pair of positions, masked
or not, and five products in the backward pass."""


def count_flops(run: Callable[[], Any]) -> int:
    """Operations of all matrix products and attention in `run`, its backward passes included."""
    with FlopCounterMode(display=False, custom_mapping=MISSING) as counter:
        run()
    return counter.get_total_flops()


def floor_flops(shape: Shape, work: Workload, streams: Sequence[str], size: int, step: int) -> int:
    """The fewest operations of a step: forward and backward over real tokens once, with shared prompts once, the head at
    label tokens only, causal attention only where it looks, frozen models not at all.

    6 x body parameters x tokens + 6 x hidden x vocabulary x labels + 12 x layers x attention width x (query, key) pairs.
    """
    rows = {name: work.pick(name, step, size) for name in streams}
    pairs = zip(rows.pop("safe", ()), rows.pop("harmful", ()), strict=True)
    groups = [[*pair] for pair in pairs] + [[row] for alone in rows.values() for row in alone]
    tokens = sum(_tokens(group) for group in groups)
    seen = sum(_pairs(group) for group in groups)
    labels = sum(row.label_count for group in groups for row in group)
    body = 6 * shape.body_parameters * tokens
    return body + 6 * shape.head_parameters * labels + 12 * shape.layers * shape.attention_width * seen


def _tokens(group: Sequence[TokenRow]) -> int:
    """Tokens of rows that share what comes before their labels."""
    return group[0].label_start + sum(row.label_count for row in group)


def _pairs(group: Sequence[TokenRow]) -> int:
    """(query, key) pairs of causal attention, a token with itself included."""
    start = group[0].label_start
    return start * (start + 1) // 2 + sum(row.label_count * start + row.label_count * (row.label_count + 1) // 2 for row in group)


def matmul_throughput(shape: Shape, tokens: int = 768, repeats: int = 5) -> float:
    """Operations a CPU second of float32 matrix products, the best of the shape's own sizes and of a square one."""
    sizes = [
        (tokens, shape.hidden, shape.feed_forward),
        (tokens, shape.hidden, min(shape.vocabulary, 16_384)),
        (1024, 1024, 1024),
    ]
    return max(_throughput(*size) for size in sizes for _ in range(repeats))


def _throughput(rows: int, inner: int, columns: int) -> float:
    left, right = torch.randn(rows, inner), torch.randn(inner, columns)
    result = torch.mm(left, right)
    started = time.process_time()
    count = 3
    for _ in range(count):
        torch.mm(left, right, out=result)
    return count * 2 * rows * inner * columns / max(time.process_time() - started, 1e-9)
