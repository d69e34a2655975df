"""What trials are compared by, and which of them is the best."""

from collections.abc import Sequence

from raysafe.config.sections import TrackingSettings
from raysafe.config.trials import TrialPlan
from raysafe.report.figures import FIGURES
from raysafe.report.naming import short_names
from raysafe.report.summary import TrialRow
from raysafe.sweep.described import settings_of


def best_of(rows: Sequence[TrialRow], rule: TrackingSettings) -> TrialRow | None:
    """The best finished trial; a tie goes to the higher win rate, then to the first. None where no such trial has the figure."""
    sign = 1.0 if rule.mode == "max" else -1.0
    known = [row for row in rows if row.status == "FINISHED" and isinstance(row.figures.get(rule.best), int | float)]
    return max(known, key=lambda row: (sign * row.figures[rule.best], row.figures.get("win_rate", 0.0)), default=None)


def swept_counts(trials: Sequence[TrialPlan]) -> dict[str, int]:
    """Short names of the swept settings and of the seed, each with how many values it has."""
    keys = list(dict.fromkeys(key for plan in trials for key in plan.swept))
    own = [settings_of(plan) for plan in trials]
    values = {key: {repr(settings[key]) for settings in own if key in settings} for key in keys}
    seeds = {plan.config.seed for plan in trials}
    return {name: len(values[key]) for key, name in short_names(keys).items()} | {"seed": len(seeds)}


def headline_metrics(rows: Sequence[TrialRow] = ()) -> list[str]:
    """The tracker's names of the figures that trials are compared by: those that all of these trials have, or, of none, all."""
    names = [figure.name for figure in FIGURES if figure.source == "scores" and figure.title]
    scored = [row for row in rows if row.status != "FAILED"]
    return [f"eval/{name}" for name in names if all(name in row.figures for row in scored)]
