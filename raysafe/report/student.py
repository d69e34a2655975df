"""Points of Student's t and of the normal distribution, for any share and whole degrees of freedom."""

import math
from statistics import NormalDist

_MANY = 200
"""Degrees of freedom from which on the normal point is taken: it is less than 1 % away."""


def normal_point(alpha: float) -> float:
    """z that |Z| exceeds with probability alpha, 0 < alpha < 1."""
    return NormalDist().inv_cdf(1 - alpha / 2)


def t_point(alpha: float, df: int) -> float:
    """t that |T| exceeds with probability alpha, 0 < alpha < 1, at df >= 1."""
    if df > _MANY:
        return normal_point(alpha)
    low, high = 0.0, 1.0
    while _within(high, df) < 1 - alpha:
        low, high = high, 2 * high
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, df) < 1 - alpha else (low, middle)
    return high


def _within(t: float, df: int) -> float:
    """P(|T| <= t): a finite sum for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(df))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = df % 2
    term = total = cosine if odd else 1.0
    for k in range(3 if odd else 2, df, 2):
        term *= (k - 1) / k * cosine**2
        total += term
    if not odd:
        return sine * total
    return (angle + (sine * total if df > 1 else 0.0)) * 2 / math.pi
