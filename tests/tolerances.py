"""How far two ways to compute one number may differ: from the arithmetic alone, so that it holds on every processor.

Processors differ in the order of their sums, in fused products, and in the last digits of exp, log and tanh; in nothing else.
u is a dtype's unit roundoff: one operation rounded to nearest is right to u, relatively; exp, log and tanh to 2 u.

What is exact mathematics is tested in float64, where these bounds are far below any mistake. `approx` without a number of its own
(1e-6 of the value) stands where a figure is a handful of operations in float64 and a mistake would be seen in its first digits.
"""

import math

import torch

LAMBDA = 6


def unit(dtype):
    """u."""
    return torch.finfo(dtype).eps / 2


def worst(operations, dtype=torch.float64):
    """Relative error after so many roundings in a row, whatever their signs: n u / (1 - n u) (Higham, Accuracy and Stability of
    Numerical Algorithms, lemma 3.1). Of a sum it is relative to the sum of the terms' absolute values."""
    spread = operations * unit(dtype)
    return spread / (1 - spread)


def likely(operations, dtype=torch.float64):
    """As `worst` for roundings of independent signs, which add up as their root: lambda sqrt(n) u fails with a probability of
    2 exp(-lambda^2 / 2) (Higham and Mary, SIAM J. Sci. Comput. 41, 2019), 3e-8 here. For long sums and networks."""
    return LAMBDA * math.sqrt(operations) * unit(dtype)


FORMULA = worst(90)
"""A formula of a few labels: 1e-14. None here has more than 30 operations in a row, some of them exp or log of arguments up to
10, whose own error comes out multiplied by the argument."""
CHAIN = worst(9000)
"""Ten steps or rows of a hundred operations one after another, with terms up to ten times the result: 1e-12."""


def network(layers, width, inner, positions, vocabulary):
    """Roundings in a row from tokens to a log-probability: a layer has six products over the width (q, k, v, o, gate, up), one
    over the inner width and attention over the positions, twice (scores, mean); then come the head and the softmax's sum."""
    return layers * (6 * width + inner + 2 * positions) + width + vocabulary


TINY = network(layers=2, width=16, inner=32, positions=40, vocabulary=40)
"""Of `tiny.llama`: 440."""
BACKWARD = 3
"""A gradient has the forward pass behind it and two products for each of its own."""


def after_adam(steps, lr, gradient_norm, operations, dtype):
    """How far a loss is moved by the roundings of so many AdamW steps before it.

    A gradient g_i that is off by d moves AdamW's step, lr g_i / |g_i| at first, by lr d / |g_i| (or turns it round, by 2 lr,
    where |g_i| < d), and the loss by |g_i| times that: lr d whatever the element. With d = r |g| / sqrt(P), independent signs and
    r the relative error of a gradient, the P elements come to lr r |g|_2 a step.
    """
    return steps * lr * gradient_norm * likely(BACKWARD * operations, dtype)


def adam_parameters(steps, lr, gradient, operations, dtype):
    """How far one parameter is moved: g / (|g| + 1e-8) has no slope above 1e8, so the step moves by at most lr d / 1e-8 when an
    element up to `gradient` is off by d, and never by more than 2 lr."""
    return steps * lr * min(2.0, gradient * likely(BACKWARD * operations, dtype) / 1e-8)
