import pytest

from raysafe.report.means import aggregate, interval

from .rows import FAILED, a_row, without


def test_the_mean_is_over_the_seeds_of_each_setting() -> None:
    rows = [a_row(0.1, 0, utility=0.5), a_row(0.2, 0, utility=0.0), a_row(0.1, 1, utility=1.0)]
    means = aggregate(rows)
    assert [(row.swept["selector.gamma"], row.seeds, row.figures["utility"]) for row in means] == [(0.1, 2, 0.75), (0.2, 1, 0.0)]


def test_a_t_interval_by_hand() -> None:
    """0.4, 0.5, 0.6: mean 0.5, s = 0.1, half width 4.303 * 0.1 / sqrt(3) = 0.24843."""
    low, high = interval([0.4, 0.5, 0.6], [(0.4, 0.4), (0.5, 0.5), (0.6, 0.6)])
    assert (low, high) == (pytest.approx(0.25157, abs=1e-5), pytest.approx(0.74843, abs=1e-5))


def test_seeds_that_agree_keep_the_width_of_their_prompts() -> None:
    """Four times 1.0 [0.8, 1.0]: no spread, so 0.2 / sqrt(4) below."""
    assert interval([1.0] * 4, [(0.8, 1.0)] * 4) == (pytest.approx(0.9), 1.0)


def test_no_interval_leaves_the_rates() -> None:
    assert interval([0.0, 1.0], [(0.0, 0.0), (1.0, 1.0)]) == (0.0, 1.0)


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
