"""The panels of the report, in the order of the page. A new one is a function and a line here.

A panel that fails or has nothing to draw costs the page nothing: its place says why.
"""

from raysafe.report.panels import cost, curves, depths, judges, kinds, rankings, settings, tradeoffs, variance
from raysafe.report.panels.base import Absent, Panel, Subject, all_of

__all__ = ["PANELS", "Absent", "Panel", "Subject"]

PANELS: list[Panel] = [
    Panel(
        "differences", "What moved",
        "For each setting and figure the largest difference between two of its levels. Orange: the interval, which holds for all "
        "comparisons together, leaves 0 out. Grey: no difference that this sweep can show.",
        settings.differences,
    ),
    Panel(
        "settings", "Each setting against each figure",
        "Means over seeds and over the other settings, with 95 % intervals (bands, bars); small dots are single trials.",
        settings.by_setting, compares=True,
    ),
    Panel("maps", "Two settings at once", "Means over seeds and over all other settings.", settings.heat_maps, compares=True),
    Panel(
        "fronts", "Safety against utility",
        "A point for each setting, the mean over its seeds; crosses are 95 % intervals. The line is the Pareto front of the "
        "means: up and to the right is better.",
        tradeoffs.fronts, compares=True,
    ),
    Panel(
        "depths", "Prefilling, by depth",
        "Attack success over the number of tokens of a forbidden answer that are put into the model's mouth; beside it how far "
        "training moved the model at each token of such an answer, and by how much it would rather refuse there than go on. "
        "Safety that is a few tokens deep has moved the first ones alone.",
        all_of(depths.prefilling, depths.distance, depths.refusing), compares=True,
    ),
    Panel(
        "kinds", "By kind of prompt",
        "Where prompts bring a label (XSTest's type): means over trials for each kind, with 95 % intervals over its prompts.",
        kinds.by_kind, kinds.table_by_kind, compares=True,
    ),
    Panel(
        "judges", "Agreement between judges",
        "Cohen's κ of two judges on the same answers: 1 is full agreement, 0 what chance gives. Dots with 95 % intervals over "
        "prompts: all trials together; small dots: single trials.",
        judges.agreement, judges.agreement_table,
    ),
    Panel(
        "variance", "Variance by source",
        "How much of the uncertainty of a setting's mean comes from its prompts, from the seeds of world, ranking and training, "
        "and from what is left; pooled over settings, as in variance.csv. df: degrees of freedom; few of them say little.",
        variance.by_source, variance.numbers,
    ),
    Panel(
        "scores", "Scores of the rankings",
        "The share of rows up to a score, by label: the further right, the sooner kept. Lines far apart are a good ranking.",
        rankings.scores,
    ),
    Panel(
        "sources", "Scores by source and kind",
        "Thin: 5 to 95 % of the rows, thick: 25 to 75 %, dot: median; rows in brackets.",
        rankings.sources,
    ),
    Panel(
        "kept", "What is kept, and how far selections overlap",
        "Unsafe share among the kept rows, where labels are known. In the maps 1 is the same rows, or the same order; two random "
        "selections of p % have p / (200 − p) in common; empty cells are of other data.",
        all_of(rankings.shares, rankings.overlap),
    ),
    Panel("training", "Training", "A line a trial; those that run, were stopped or failed too.", curves.training),
    Panel(
        "selectors", "Selectors, and the spread of their row weights",
        "A line a ranking that was learned; of the weights of D's rows the least and the largest.",
        all_of(curves.selectors, curves.weights),
    ),
    Panel(
        "cost", "What it cost",
        "Seconds that worker groups spent for these trials. Saved: stages that a trial used and another had paid for.",
        cost.seconds,
    ),
]  # fmt: skip
