"""What trials are compared by, and which of them is the best."""

from collections.abc import Sequence

from raysafe.config.sections import TrackingSettings
from raysafe.config.trials import TrialPlan
from raysafe.evaluation.attacks import ATTACKS
from raysafe.evaluation.roles import FILES, ROLES
from raysafe.report.figures import listed
from raysafe.report.naming import short_names
from raysafe.report.summary import TrialRow, evaluations
from raysafe.sweep.described import settings_of

HEADLINE = 3
"""`Figure.keep` of the figures that trials are compared by."""


def best_of(rows: Sequence[TrialRow], rule: TrackingSettings) -> TrialRow | None:
    """The best finished trial; a tie goes to the higher win rate, then to the first. None where no such trial has the figure, or
    where those that have it were evaluated in several ways."""
    sign = 1.0 if rule.mode == "max" else -1.0
    known = [row for row in rows if row.status == "FINISHED" and isinstance(row.figures.get(rule.best), int | float)]
    known = known if len(evaluations(known)) <= 1 else []
    return max(known, key=lambda row: (sign * row.figures[rule.best], row.figures.get("win_rate", 0.0)), default=None)


def swept_counts(trials: Sequence[TrialPlan]) -> dict[str, int]:
    """Short names of the swept settings and of the seeds, each with how many values it has."""
    keys = list(dict.fromkeys(key for plan in trials for key in plan.swept))
    own = [settings_of(plan) for plan in trials]
    values = {key: {repr(settings[key]) for settings in own if key in settings} for key in keys}
    seeds = [{"seed": plan.config.seed, **plan.axes} for plan in trials]
    counts = {name: len({one.get(name) for one in seeds}) for name in dict.fromkeys(name for one in seeds for name in one)}
    return {name: len(values[key]) for key, name in short_names(keys).items()} | counts


def headline_metrics(trials: Sequence[TrialPlan], rows: Sequence[TrialRow] = ()) -> list[str]:
    """The tracker's names of the scores that trials are compared by: of those that stay longest in a narrow table, as pages have
    room for some, the ones that all of the rows have, or, before one has ended, that all trials are to have."""
    scored = [row.figures for row in rows if row.status != "FAILED"] or [_expected(plan) for plan in trials]
    names = [figure.name for figure in listed(scored) if figure.source == "scores" and figure.title and figure.keep >= HEADLINE]
    return [f"eval/{name}" for name in names if all(name in figures for figures in scored)]


def _expected(plan: TrialPlan) -> dict[str, float]:
    """The scores that a trial's evaluation gives, of any value."""
    evaluation = plan.config.evaluation
    rates = [rate for role in FILES if (rate := ROLES[role].rate) and getattr(evaluation, role) is not None]
    attacks = {suite: ATTACKS[raw.get("name", suite)] for suite, raw in evaluation.attacks.items()}
    told = [name for suite, attack in attacks.items() for name in ((f"asr_{suite}",) if attack.counts else attack.figures)]
    return dict.fromkeys(["win_rate", "safety_score", *told, *rates], 0.0)
