from dataclasses import replace

import numpy as np
import pytest

from raysafe.evaluation.components import over_axes
from raysafe.evaluation.intervals import over_seeds, pooled, wilson
from raysafe.report.means import aggregate, interval
from raysafe.report.prompts import no_prompts

from .rows import FAILED, a_row, without


def test_the_mean_is_over_the_seeds_of_each_setting() -> None:
    rows = [a_row(0.1, 0, utility=0.5), a_row(0.2, 0, utility=0.0), a_row(0.1, 1, utility=1.0)]
    means = aggregate(rows)
    assert [(row.swept["selector.gamma"], row.seeds, row.figures["utility"]) for row in means] == [(0.1, 2, 0.75), (0.2, 1, 0.0)]


def test_the_interval_of_rates_and_intervals_is_that_of_seeds_that_answer_much_alike() -> None:
    assert interval([0.5] * 4, [(0.33631, 0.66369)] * 4) == pytest.approx((pooled([wilson(16, 32)] * 4).low, 0.6459), abs=1e-3)


def test_seeds_that_agree_keep_the_width_of_their_prompts() -> None:
    """Nothing says that four seeds which all gave 1 are more than one asked again."""
    low, high = interval([1.0] * 4, [(0.8, 1.0)] * 4)
    assert (low, high) == (pytest.approx(0.8), 1.0)


def test_no_interval_leaves_the_rates_but_that_of_an_unbounded_figure() -> None:
    low, high = interval([0.0, 1.0], [(0.0, 0.1), (0.9, 1.0)])
    assert 0 <= low < 0.05 and 0.95 < high <= 1
    low, high = interval([-3.0, 5.0], [(-4.0, -2.0), (4.0, 6.0)], share=False)
    assert low < -4 and high > 6


def table_of(values):
    """A trial's prompts, by name."""
    return {f"prompt {place}": float(value) for place, value in enumerate(values)}


def three_seeds(**figures):
    return [replace(a_row(seed=seed, utility=0.5, **figures), trial=str(seed)) for seed in range(3)]


def with_interval(rows):
    return [replace(row, figures={**row.figures, "utility_low": 0.33, "utility_high": 0.67, "utility_n": 32}) for row in rows]


def test_where_prompts_are_known_the_mean_is_that_of_seeds_by_prompts() -> None:
    """Half of 32 prompts are always right: as sure as 32 prompts; or other ones at each seed: surer."""
    rows = with_interval(three_seeds())
    alike = {(row.trial, "utility"): table_of([1] * 16 + [0] * 16) for row in rows}
    mixed = {(str(seed), "utility"): table_of(np.random.default_rng(seed).permutation([1, 0] * 16)) for seed in range(3)}
    ends = []
    for known in (alike, mixed):
        (mean,) = aggregate(rows, lambda trial, figure, known=known: known.get((trial, figure), {}))
        rate = over_seeds([known[str(seed), "utility"] for seed in range(3)])
        assert (mean.figures["utility_low"], mean.figures["utility_high"]) == (rate.low, rate.high)
        ends.append(rate.high - rate.low)
    assert ends[1] < 0.8 * ends[0]


def test_prompts_that_do_not_make_up_the_figure_do_not_stand_for_it() -> None:
    rows = with_interval(three_seeds())
    means = [aggregate(rows, known)[0].figures["utility_low"] for known in (no_prompts, lambda trial, figure: table_of([0] * 32))]
    assert means[0] == means[1]


def test_a_trial_that_repeats_a_seed_or_a_training_is_no_further_seed() -> None:
    first = replace(a_row(seed=0), trial="000")
    again, same = replace(a_row(seed=0), trial="001"), replace(a_row(seed=1, same_as="000"), trial="002")
    other = replace(a_row(seed=2), trial="003")
    assert [mean.seeds for mean in aggregate([first, again, same])] == [1]
    assert [mean.seeds for mean in aggregate([first, again, same, other])] == [2]


def test_trials_that_were_evaluated_in_other_ways_are_not_averaged() -> None:
    rows = [a_row(seed=seed, evaluation=way) for seed in (0, 1) for way in ("a", "b")]
    assert [mean.seeds for mean in aggregate(rows)] == [2, 2]


def test_worlds_with_prompts_of_their_own_are_averaged_and_failed_trials_stay_with_their_setting() -> None:
    rows = [a_row(seed=seed, evaluation=f"world {seed}") for seed in (0, 1)]
    assert [mean.seeds for mean in aggregate(rows)] == [2]
    failed = replace(FAILED, swept=rows[0].swept)
    assert [(mean.seeds, mean.status) for mean in aggregate([*rows, failed])] == [(2, "FINISHED 2, FAILED 1")]


def test_an_interval_over_axes_of_seeds_is_that_over_the_outermost() -> None:
    """Two worlds of three trainings each: as two seeds, not as six."""
    rows = [
        replace(a_row(seed=seed, utility=0.2 + 0.6 * world), trial=f"{world}{seed}", seed_world=world, seed_ranking=0)
        for world in (0, 1) for seed in range(3)
    ]  # fmt: skip
    (mean,) = aggregate(with_interval(rows))
    assert mean.seeds == 6 and mean.figures["utility_high"] - mean.figures["utility_low"] > 0.8


def test_a_single_seed_keeps_its_own_interval() -> None:
    assert aggregate([a_row()])[0].figures == a_row().figures


def test_stopped_trials_are_left_out_where_others_finished() -> None:
    (mean,) = aggregate([a_row(seed=0), a_row(seed=1, status="STOPPED", utility=0.0)])
    assert (mean.seeds, mean.figures["utility"], mean.status) == (1, 0.93, "FINISHED 1, STOPPED 1")


def test_stopped_trials_count_where_none_finished() -> None:
    (mean,) = aggregate([a_row(seed=seed, status="STOPPED") for seed in (0, 1)])
    assert (mean.seeds, mean.status) == (2, "STOPPED")


def test_a_setting_that_only_failed_has_no_scores() -> None:
    (mean,) = aggregate([FAILED])
    assert (mean.status, mean.figures, mean.seeds) == ("FAILED", {}, 0)


def test_numbers_are_averaged_over_the_trials_that_have_them() -> None:
    (mean,) = aggregate([a_row(seed=0, dropped_rows=2), a_row(seed=1), a_row(seed=2, dropped_rows=1, wall_s=1.5)])
    assert mean.figures["dropped_rows"] == 1.5 and mean.figures["wall_s"] == pytest.approx((31.5 + 31.5 + 1.5) / 3)
    assert "ranking_auc" not in mean.figures


def test_a_rate_that_a_seed_lacks_has_no_mean() -> None:
    (mean,) = aggregate([a_row(seed=0), without(a_row(seed=1), "utility")])
    assert "utility" not in mean.figures and mean.figures["new_tasks"] == 0.5


def test_a_mean_over_several_axes_of_seeds_has_the_interval_of_its_components():
    """Trials that share a ranking are no independent replicates of four seeds."""
    seeds = [(ranking, training) for ranking in (0, 1) for training in (0, 1)]
    tables = {f"{r}{t}": {str(p): float((p + 3 * r + 5 * t) % 7 < 3) for p in range(14)} for r, t in seeds}
    rates = {name: sum(values.values()) / 14 for name, values in tables.items()}
    rows = [replace(a_row(seed=t, utility=rates[f"{r}{t}"]), trial=f"{r}{t}", seed_world=0, seed_ranking=r) for r, t in seeds]
    rows = [replace(row, figures={**row.figures, "utility_low": 0.1, "utility_high": 0.9}) for row in rows]
    (mean,) = aggregate(rows, lambda trial, figure: tables[trial] if figure == "utility" else {})
    rate = over_axes({(0, r, t): tables[f"{r}{t}"] for r, t in seeds})
    assert (mean.figures["utility_low"], mean.figures["utility_high"]) == pytest.approx((rate.low, rate.high)) and mean.seeds == 4
