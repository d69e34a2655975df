"""Means over the seeds of a sweep."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from raysafe.report.figures import FIGURES
from raysafe.report.summary import TrialRow, swept_keys

T_POINTS = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
"""Student's t, 97.5 % point, for 1 to 15 degrees of freedom; above, the last is on the safe side."""
HOW = "Intervals over seeds are 95 % t-intervals, and never narrower than the trials' own over prompts, pooled."


def aggregate(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """One row for each swept setting: the mean over its seeds, `seeds` saying of how many.

    Only finished trials go into a mean, or, where none has finished, the stopped ones: their scores are of fewer epochs.
    A setting with a single such trial keeps that trial's own interval.
    """
    groups: dict[tuple[str, ...], list[TrialRow]] = defaultdict(list)
    keys = swept_keys(rows)
    for row in rows:
        groups[tuple(repr(row.swept.get(key)) for key in keys)].append(row)
    return [_mean_row(group) for group in groups.values()]


def _mean_row(group: Sequence[TrialRow]) -> TrialRow:
    used = next((kept for status in ("FINISHED", "STOPPED") if (kept := [row for row in group if row.status == status])), [])
    if len(group) == 1 or not used:
        return replace(group[0], status=_status(group), seeds=len(used), error="; ".join(row.error for row in group if row.error))
    return TrialRow(
        trial=" ".join(row.trial for row in used),
        status=_status(group),
        seed=used[0].seed if len(used) == 1 else None,
        swept=group[0].swept,
        figures=mean_figures([row.figures for row in used]),
        error="; ".join(row.error for row in group if row.error),
        seeds=len(used),
    )


def _status(group: Sequence[TrialRow]) -> str:
    """`FINISHED`, or `FINISHED 2, FAILED 1` where the seeds ended differently."""
    counts = Counter(sorted((row.status for row in group), key=lambda status: (status != "FINISHED", status)))
    return group[0].status if len(counts) == 1 else ", ".join(f"{status} {count}" for status, count in counts.items())


def mean_figures(trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means as the list of figures says: of rates that all trials have, with their intervals; of other numbers over the trials
    that have them; of texts none."""
    alone = [figure for figure in FIGURES if figure.average == "mean" or figure.unit == "text"]
    names = {figure.name for figure in alone}
    means = mean_rates([{name: value for name, value in trial.items() if name not in names} for trial in trials])
    for figure in alone:
        known = [trial[figure.name] for trial in trials if trial.get(figure.name) is not None]
        if known and figure.unit != "text":
            means[figure.name] = sum(known) / len(known)
    return means


def mean_rates(trials: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Means of the rates that all trials have, each with its interval where the trials have one."""
    shared = [name for name in trials[0] if all(name in trial for trial in trials)]
    means = {name: sum(trial[name] for trial in trials) / len(trials) for name in shared}
    for name in shared:
        if f"{name}_low" in means and f"{name}_high" in means:
            own = [(trial[f"{name}_low"], trial[f"{name}_high"]) for trial in trials]
            means[f"{name}_low"], means[f"{name}_high"] = interval([trial[name] for trial in trials], own)
    return means


def interval(values: Sequence[float], own: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The 95 % interval of the mean of n rates in [0, 1], from their spread and from their own intervals.

    A t-interval over seeds alone has no width where all seeds happen to agree, as rates at 0 or 1 do; so it reaches at
    least as far as the trials' own intervals, whose mean width shrinks with the square root of n.
    """
    n, mean = len(values), sum(values) / len(values)
    low, high = (mean + (sum(ends) / n - mean) / math.sqrt(n) for ends in zip(*own, strict=True))
    if n > 1:
        spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
        half = (T_POINTS[min(n - 2, len(T_POINTS) - 1)]) * spread / math.sqrt(n)
        low, high = min(low, mean - half), max(high, mean + half)
    return max(0.0, low), min(1.0, high)
