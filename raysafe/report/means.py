"""Means over the seeds of a sweep."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from raysafe.report.figures import FIGURES, is_share
from raysafe.report.prompts import AGREES, ByPrompt, no_prompts
from raysafe.report.replicates import cluster_of, distinct, way_of
from raysafe.report.summary import TrialRow, swept_keys

if TYPE_CHECKING:
    from raysafe.evaluation.metrics import Rate

HOW = "Intervals of means over seeds are at 95 %, too, for other prompts and other seeds; with one seed, for other prompts alone."
Values = Mapping[str, float]


def aggregate(rows: Sequence[TrialRow], by_prompt: ByPrompt = no_prompts) -> list[TrialRow]:
    """One row for each swept setting: the mean over its seeds, `seeds` saying of how many.

    Only finished trials go into a mean, or, where none has finished, the stopped ones: their scores are of fewer epochs. A trial
    that repeats another's seeds or training is no further seed (`distinct`), and trials that were evaluated in other ways
    are no replicates. A setting with a single such trial keeps that trial's own interval.
    """
    groups: dict[tuple[str, ...], list[TrialRow]] = defaultdict(list)
    keys, way = swept_keys(rows), way_of(rows)
    for row in rows:
        groups[way(row), *(repr(row.swept.get(key)) for key in keys)].append(row)
    return [_mean_row(group, by_prompt) for group in groups.values()]


def _mean_row(group: Sequence[TrialRow], by_prompt: ByPrompt) -> TrialRow:
    found = next((kept for status in ("FINISHED", "STOPPED") if (kept := [row for row in group if row.status == status])), [])
    used, _ = distinct(found)
    if len(group) == 1 or not used:
        return replace(group[0], status=_status(group), seeds=len(used), error="; ".join(row.error for row in group if row.error))
    return TrialRow(
        trial=" ".join(row.trial for row in used),
        status=_status(group),
        seed=used[0].seed if len(used) == 1 else None,
        swept=group[0].swept,
        figures=mean_figures(used, by_prompt),
        error="; ".join(row.error for row in group if row.error),
        seeds=len(used),
    )


def _status(group: Sequence[TrialRow]) -> str:
    """`FINISHED`, or `FINISHED 2, FAILED 1` where the seeds ended differently."""
    counts = Counter(sorted((row.status for row in group), key=lambda status: (status != "FINISHED", status)))
    return group[0].status if len(counts) == 1 else ", ".join(f"{status} {count}" for status, count in counts.items())


def mean_figures(trials: Sequence[TrialRow], by_prompt: ByPrompt = no_prompts) -> dict[str, Any]:
    """Means as the list of figures says: of rates that all trials have, with their intervals; of other numbers over the trials
    that have them; of texts none."""
    alone = [figure for figure in FIGURES if figure.average == "mean" or figure.unit == "text"]
    names = {figure.name for figure in alone}
    numbers = [name for name, value in trials[0].figures.items() if name not in names and not isinstance(value, str)]
    shared = [name for name in numbers if all(name in row.figures for row in trials)]
    means = {name: sum(row.figures[name] for row in trials) / len(trials) for name in shared}
    seeds = _Seeds(trials, by_prompt)
    seeds.read(rated := [name for name in shared if f"{name}_low" in means and f"{name}_high" in means])
    for name in rated:
        means |= {f"{name}_{end}": value for end, value in seeds.interval(name).items()}
    for figure in alone:
        known = [row.figures[figure.name] for row in trials if row.figures.get(figure.name) is not None]
        if known and figure.unit != "text":
            means[figure.name] = sum(known) / len(known)
    ways = {row.figures.get("evaluation") for row in trials}
    return means | ({"evaluation": ways.pop()} if len(ways) == 1 and None not in ways else {})


@dataclass(frozen=True)
class _Seeds:
    """Trials of one setting that differ by seed alone."""

    trials: Sequence[TrialRow]
    by_prompt: ByPrompt

    def read(self, figures: Sequence[str]) -> None:
        """All figures of a trial while its table is open."""
        for row in self.trials:
            for name in figures:
                self.by_prompt(row.trial, name)

    def interval(self, name: str) -> dict[str, float]:
        """`low` and `high` of the mean of a figure. Where several axes of seeds vary they are told apart by prompts; of trials
        without a table by prompt, the outermost axis is what counts."""
        from raysafe.evaluation.components import over_axes  # numpy, which a table without intervals does without
        from raysafe.evaluation.intervals import over_seeds, pooled

        unit, groups = cluster_of(self.trials), defaultdict[Any, list[TrialRow]](list)
        for row in self.trials:
            groups[unit(row)].append(row)
        tables = [_mean_values([self.by_prompt(row.trial, name) for row in group]) for group in groups.values()]
        value = sum(row.figures[name] for row in self.trials) / len(self.trials)
        every = {row.replicate: self.by_prompt(row.trial, name) for row in self.trials}
        if sum(len(set(seeds)) > 1 for seeds in zip(*every, strict=True)) > 1 and all(every.values()):
            rate: Rate | None = over_axes(every, is_share(name))
        else:
            rate = over_seeds(tables, is_share(name)) if all(tables) else None
        if rate is None or abs(rate.value - value) > AGREES:
            rate = pooled([_mean_rate([row.figures for row in group], name) for group in groups.values()], is_share(name))
        return {"low": min(value, rate.low), "high": max(value, rate.high)}


def _mean_values(tables: Sequence[Values]) -> Values:
    """Every prompt's mean over tables that all have it; empty where they share half of their prompts or fewer."""
    shared = [prompt for prompt in tables[0] if all(prompt in values for values in tables)]
    if 2 * len(shared) <= max(map(len, tables)):
        return {}
    return {prompt: sum(values[prompt] for values in tables) / len(tables) for prompt in shared}


def _mean_rate(trials: Sequence[Mapping[str, Any]], name: str) -> "Rate":
    from raysafe.evaluation.metrics import Rate

    value, low, high = (sum(float(trial[name + end]) for trial in trials) / len(trials) for end in ("", "_low", "_high"))
    return Rate(value, low, high, int(min(trial.get(f"{name}_n", 1) for trial in trials)))


def interval(
    values: Sequence[float], own: Sequence[tuple[float, float]], share: bool = True, prompts: int = 1
) -> tuple[float, float]:
    """The 95 % interval of the mean over seeds of a figure, from the seeds' values and their own intervals over `prompts`."""
    from raysafe.evaluation.intervals import pooled
    from raysafe.evaluation.metrics import Rate

    rate = pooled([Rate(value, low, high, prompts) for value, (low, high) in zip(values, own, strict=True)], share)
    return rate.low, rate.high
