"""Agreement between two judges about the same answers: Cohen's kappa with an interval over prompts.

docs/judges.md has the formulas, and what kappa can't say.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from raysafe.evaluation.by_prompt import WIN_RATE, PromptTable, counted
from raysafe.evaluation.intervals import Z, effective, wilson_ends

_PLACE = ["suite", "variant", "source", "role", "index"]


@dataclass(frozen=True)
class Kappa:
    """`share`: of answers that both judges decided alike; `expected`: what chance would give, by how often each says yes. `kappa`
    with its 95 % interval; None, with `note` saying why, where it is not defined."""

    n: int
    prompts: int
    share: float
    expected: float
    kappa: float | None
    low: float | None
    high: float | None
    note: str = ""


@dataclass(frozen=True)
class Agreement:
    """Two judges on the answers of one suite. `hits`, `other_hits`: the share that each calls a hit, of answers that both count.
    `coherent`: the share of all the suite's answers that both take for language."""

    suite: str
    judge: str
    other: str
    hits: float
    other_hits: float
    coherent: float
    of: Kappa


def cohen(one_N: Sequence[bool], other_N: Sequence[bool], prompts_N: Sequence[Any]) -> Kappa:
    """Cohen's kappa of N answers, of which those to one prompt stay together. Raises ValueError for none.

    kappa = (p - e) / (1 - e), p the share of equal verdicts, e = ab + (1 - a)(1 - b) of the shares a and b of hits (Cohen, 1960).
    Its interval is the wider one at each end of two: kappa -+ 1.96 times its large-sample standard error (Fleiss, Cohen and
    Everitt, 1969), summed over prompts; and that of p (Wilson's at an effective number of prompts) put through the formula,
    which has width where both never differ.
    """
    x, y = np.asarray(one_N, dtype=float), np.asarray(other_N, dtype=float)
    if not len(x):
        raise ValueError("`answers`: agreement needs at least one, but got none")
    places, sizes = np.unique(np.asarray(prompts_N, dtype=str), return_inverse=True, return_counts=True)[1:]
    equal, a, b = (x == y).astype(float), x.mean(), y.mean()
    share, expected = equal.mean(), a * b + (1 - a) * (1 - b)
    head = (len(x), len(sizes), float(share), float(expected))
    if math.isclose(expected, 1.0):
        return Kappa(*head, None, None, None, f"both always say {'yes' if a > 0.5 else 'no'}")
    kappa = (share - expected) / (1 - expected)
    of_share = _by_prompt(equal - share, places) / len(x)
    chance = (2 * b - 1) * (x - a) + (2 * a - 1) * (y - b)
    of_kappa = ((equal - share) * (1 - expected) - (1 - share) * chance) / (1 - expected) ** 2
    half = Z * math.sqrt(_spread(_by_prompt(of_kappa, places) / len(x)))
    n = effective(float(share), float((of_share**2).sum()), 1 / float(((sizes / len(x)) ** 2).sum()))
    ends = [(end - expected) / (1 - expected) for end in wilson_ends(float(share), n)]
    low, high = max(-1.0, min(kappa - half, ends[0])), min(1.0, max(kappa + half, ends[1]))
    constant = [of for of in (a, b) if of in (0.0, 1.0)]
    note = f"one always says {'yes' if constant[0] else 'no'}: κ can be nothing but 0" if constant else ""
    return Kappa(*head, float(kappa), float(low), float(high), note)


def _by_prompt(values_N: np.ndarray, places_N: np.ndarray) -> np.ndarray:
    return np.bincount(places_N, weights=values_N)


def _spread(sums_G: np.ndarray) -> float:
    """Variance of a sum of G independent parts of mean 0; 0 for a single one, which says nothing of it."""
    groups = len(sums_G)
    return float((sums_G**2).sum() * groups / (groups - 1)) if groups > 1 else 0.0


def pairs_of(table: PromptTable) -> list[tuple[str, str]]:
    """Every two judges of a table, the plain one first."""
    return list(itertools.combinations(table.judges, 2))


def paired(table: PromptTable, judge: str, other: str) -> pd.DataFrame:
    """The answers that two judges both decided about: `suite`, `content_hash`, verdicts `hit` and `other_hit`, whether both
    `counts` it, and whether both take it for language."""
    one, two = (_verdicts(table, name) for name in (judge, other))
    both = one.merge(two, on=[*_PLACE, "turn"], suffixes=("", "_other"), validate="one_to_one")
    return pd.DataFrame(
        {
            "suite": both["suite"],
            "content_hash": both["content_hash"],
            "hit": both["hit"],
            "other_hit": both["hit_other"],
            "counts": both["counts"] & both["counts_other"],
            "coherent": both["coherent"] & both["coherent_other"],
        }
    )


def _verdicts(table: PromptTable, judge: str) -> pd.DataFrame:
    rows = table.of_judge(judge)
    rows = rows[rows["suite"] != WIN_RATE]
    kept = rows[[*_PLACE, "content_hash", "hit", "coherent"]]
    return kept.assign(counts=counted(rows), turn=rows.groupby(_PLACE, sort=False).cumcount())


def agreements(pairs: pd.DataFrame, judge: str, other: str) -> list[Agreement]:
    """Agreement by suite over what `paired` gives, of one model or several; none of a suite without an answer that both count."""
    found = []
    for suite, rows in pairs.groupby("suite", sort=False):
        both = rows[rows["counts"]]
        if len(both):
            of = cohen(both["hit"].tolist(), both["other_hit"].tolist(), both["content_hash"].tolist())
            hits = float(both["hit"].mean()), float(both["other_hit"].mean())
            found.append(Agreement(str(suite), judge, other, *hits, float(rows["coherent"].mean()), of))
    return found
