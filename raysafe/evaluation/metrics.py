"""Rates with 95 % intervals, as they are kept in files and shown: plain values, nothing to import."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """A share with its 95 % interval and the number n of prompts behind it."""

    value: float
    low: float
    high: float
    n: int


def rates_of(plain: Mapping[str, Mapping[str, float]]) -> dict[str, Rate]:
    """Rates from plain values, as scores are kept in files."""
    return {name: Rate(**rate) for name, rate in plain.items()}  # type: ignore[arg-type]


def flat_rates(rates: Mapping[str, Rate], with_n: bool = False) -> dict[str, float]:
    """name, name_low and name_high of every rate, and name_n if asked for."""
    row: dict[str, float] = {}
    for name, rate in rates.items():
        row |= {name: rate.value, f"{name}_low": rate.low, f"{name}_high": rate.high}
        row |= {f"{name}_n": rate.n} if with_n else {}
    return row


def complement(rate: Rate) -> Rate:
    """1 - rate."""
    return Rate(1.0 - rate.value, 1.0 - rate.high, 1.0 - rate.low, rate.n)
