"""Win rates at equal length: what is left of a preference once it is not owed to a longer answer.

After the length-controlled win rate of Dubois, Galambosi, Liang and Hashimoto (arXiv:2404.04475), with a regression for each
model alone: docs/judges.md has the formulas, and what is left out.
"""

import math
from collections.abc import Sequence

import numpy as np

from raysafe.evaluation.intervals import clustered, effective, wilson_ends
from raysafe.evaluation.metrics import Rate

RIDGE = 1 / 10**2
"""A normal prior of standard deviation 10 on the slope: next to nothing beside a few pairs; it keeps the slope finite where the
longer answer always wins."""
STEPS, EXACT = 100, 1e-12


def at_equal_length(preferences_N: Sequence[float], differences_N: Sequence[float]) -> Rate:
    """The preference, 0 to 1, that answers of equal length would have. Raises ValueError for no pair.

    preferences_N: of each pair, ties as 1/2. differences_N: characters of our answer less those of the other.

    logit P = theta + phi z with z = tanh(difference / its root mean square), fitted by maximum likelihood of fractional outcomes
    (Papke and Wooldridge, 1996) with RIDGE phi^2 / 2 taken off; the rate is sigma(theta), P at z = 0. Its variance is the
    sandwich's over pairs as the jackknife has it (HC3), its interval Wilson's at the number of pairs that are as sure.
    """
    y, d = np.asarray(preferences_N, dtype=float), np.asarray(differences_N, dtype=float)
    if not len(y):
        raise ValueError("`preferences`: a win rate needs a pair, but got none")
    scale, plain = math.sqrt(float((d**2).mean())), clustered([dict(enumerate(y.tolist()))])
    if scale == 0 or plain.value in (0.0, 1.0):
        return plain  # nothing to control for, or nothing that length could tell apart
    x = np.stack([np.ones_like(d), np.tanh(d / scale)], axis=1)
    weights = fitted(x, y)
    share = float(_sigma(weights[0]))
    variance = (share * (1 - share)) ** 2 * _variance(x, y, weights)
    low, high = wilson_ends(share, effective(share, variance, len(y)))
    return Rate(share, float(low), float(high), len(y))


def fitted(x_N2: np.ndarray, y_N: np.ndarray) -> np.ndarray:
    """(theta, phi) by Newton's method, each step halved until it helps; the function is strictly concave."""
    weights = np.zeros(2)
    value = _likelihood(x_N2, y_N, weights)
    for _ in range(STEPS):
        step = np.linalg.solve(_curvature(x_N2, weights), x_N2.T @ (y_N - _sigma(x_N2 @ weights)) - _ridge() * weights)
        while (after := _likelihood(x_N2, y_N, weights + step)) < value and np.abs(step).max() > EXACT:
            step /= 2
        weights, value = weights + step, after
        if np.abs(step).max() <= EXACT:
            break
    return weights


def _likelihood(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    logits = x @ weights
    return float((y * logits - np.logaddexp(0.0, logits)).sum() - 0.5 * (_ridge() * weights**2).sum())


def _curvature(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Minus the second derivatives, shape 2 x 2."""
    chance = _sigma(x @ weights)
    return (x * (chance * (1 - chance))[:, None]).T @ x + np.diag(_ridge())


def _variance(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    """Of theta: A^-1 B A^-1 with A the curvature and B the sum of squared scores, each over (1 - its leverage)^2 (HC3, which is
    nearly the jackknife: MacKinnon and White, 1985)."""
    chance, inverse = _sigma(x @ weights), np.linalg.inv(_curvature(x, weights))
    leverage = chance * (1 - chance) * np.einsum("ni,ij,nj->n", x, inverse, x)
    scores = x * ((y - chance) / np.maximum(1 - leverage, 0.1))[:, None]
    return float((inverse @ (scores.T @ scores) @ inverse)[0, 0])


def _ridge() -> np.ndarray:
    return np.array([0.0, RIDGE])


def _sigma(logits: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0.0, -logits))
