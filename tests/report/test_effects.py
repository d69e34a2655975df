"""Differences between the levels of a setting, on cases that can be worked by hand."""

import itertools
import math
from dataclasses import replace
from statistics import NormalDist

import pytest

from raysafe.evaluation.intervals import normal_point, t_point, wilson
from raysafe.report.differences import ends
from raysafe.report.effects import effects_of, holm
from raysafe.report.summary import TrialRow


def trial(seed=0, status="FINISHED", win=0.5, width=0.0, n=0, **swept):
    """A trial with a win rate, width to either side of it, and n prompts."""
    figures = {"win_rate": win, "win_rate_low": win - width, "win_rate_high": win + width}
    keys = {"gamma": "selector.gamma", "objective": "objective.name", "selector": "selector.name", "percent": "selection.percent"}
    return TrialRow(
        f"{swept} {seed}",
        status,
        seed,
        {keys[name]: value for name, value in swept.items()},
        figures | ({"win_rate_n": n} if n else {}),
    )


def only(rows):
    (effect,) = effects_of(rows, ["win_rate"]).effects
    return effect


def test_an_interval_over_seeds_by_hand():
    """Differences 0.1, 0.2, 0.3: mean 0.2, s = 0.1. No prompts' width. Two cells, so pooled: half of the interaction, residuals
    -+0.05, 0, +-0.05 in either: 4 * 0.0025 / 2 = 0.005; 2 * 0.005 = s squared. t(2) = 4.3027: 0.2 -+ 4.3027 * 0.1 / sqrt(3)."""
    rows = [trial(seed, win=0.5, gamma=0.1) for seed in range(3)] + [trial(s, win=0.6 + s / 10, gamma=0.2) for s in range(3)]
    effect = only(rows)
    assert effect.difference == pytest.approx(0.2) and (effect.seeds, effect.pairs) == (3, 3)
    assert (effect.low, effect.high) == (pytest.approx(0.2 - 0.24842, abs=1e-4), pytest.approx(0.2 + 0.24842, abs=1e-4))


def test_one_seed_has_the_prompts_interval_of_a_difference():
    """Newcombe: 0.5 -+ 0.1 against 0.8 -+ 0.1: 0.3 -+ sqrt(0.01 + 0.01)."""
    effect = only([trial(win=0.5, width=0.1, n=48, gamma=0.1), trial(win=0.8, width=0.1, n=32, gamma=0.2)])
    assert (effect.low, effect.high) == (pytest.approx(0.3 - math.sqrt(0.02)), pytest.approx(0.3 + math.sqrt(0.02)))
    assert effect.shown and (effect.seeds, effect.prompts) == (1, 32)


def test_seeds_that_agree_keep_the_width_of_their_prompts():
    """Four seeds without any spread: sqrt(0.1² + 0.1²) / sqrt(4); a true difference is shown with 80 % if it is larger by .8416
    standard errors, of which that has 1.96."""
    rows = [trial(seed, win=win, width=0.1, gamma=win) for seed in range(4) for win in (0.4, 0.6)]
    assert only(rows).high - 0.2 == pytest.approx(math.sqrt(0.02) / 2)
    assert only(rows).visible == pytest.approx(math.sqrt(0.02) / 2 * (1 + 0.841621 / 1.959964), rel=1e-5)


def test_what_seeds_and_company_do_by_themselves_drops_out():
    """Each objective and each seed has a level of its own; gamma adds 0.1 to all."""
    rows = [
        trial(seed, win=0.1 + 0.3 * (objective == "dpo") + 0.05 * seed + gamma, gamma=gamma, objective=objective)
        for gamma in (0.1, 0.2) for objective in ("sft", "dpo") for seed in range(3)
    ]  # fmt: skip
    of_gamma, of_objective = effects_of(rows, ["win_rate"]).effects
    assert of_gamma.difference == pytest.approx(0.1) and of_gamma.visible == pytest.approx(0, abs=1e-9) and of_gamma.shown
    assert of_objective.difference == pytest.approx(0.3) and of_objective.levels == (("sft",), ("dpo",))


def test_every_comparison_makes_all_intervals_wider():
    """Three levels, two figures: six comparisons; their normal point is that of 0.05 / 6."""
    rows = [trial(win=0.5, width=0.1, gamma=gamma) for gamma in (0.1, 0.2, 0.3)]
    for row in rows:
        row.figures.update({"utility": 0.5, "utility_low": 0.4, "utility_high": 0.6})
    found = effects_of(rows, ["win_rate", "utility"]).effects
    assert len(found) == 6
    assert found[0].high == pytest.approx(math.sqrt(0.02) * NormalDist().inv_cdf(1 - 0.05 / 12) / 1.959964, rel=1e-5)


def test_settings_that_only_change_together_are_one_factor():
    rows = [trial(win=0.2, gamma=0.1, percent=70), trial(win=0.6, gamma=0.2, percent=80)]
    effects = effects_of(rows, ["win_rate"])
    assert effects.together == ("selector.gamma", "selection.percent") == effects.effects[0].factor
    assert effects.effects[0].levels == ((0.1, 70), (0.2, 80))


def test_a_setting_of_a_method_belongs_to_the_method():
    """Random has no gamma: it is compared with SEAL at every gamma, and gammas with each other."""
    rows = [trial(win=0.2, selector="random"), *(trial(win=0.5 + g, selector="seal", gamma=g) for g in (0.1, 0.3))]
    by_factor = effects_of(rows, ["win_rate"]).by_factor
    assert by_factor["selector.name",][0].means == (pytest.approx(0.2), pytest.approx(0.7))
    assert [effect.levels for effect in by_factor["selector.gamma",]] == [((0.1,), (0.3,))]


def test_stopped_trials_count_only_where_nothing_else_can_be_compared():
    rows = [trial(win=0.2, gamma=0.1), trial(win=0.9, gamma=0.2), trial(status="STOPPED", win=0.5, gamma=0.3)]
    assert len(effects_of(rows, ["win_rate"]).used) == 2
    assert len(effects_of(rows[1:], ["win_rate"]).used) == 2 and len(effects_of(rows[1:], ["win_rate"]).effects) == 1


def test_failed_trials_and_lost_partners_are_left_out():
    """Seed 1 has no finished partner at 0.2: one pair is left."""
    rows = [trial(0, gamma=0.1), trial(0, win=0.7, gamma=0.2), trial(1, gamma=0.1), trial(1, "FAILED", gamma=0.2)]
    assert (only(rows).pairs, only(rows).seeds) == (1, 1)


def test_an_interval_without_width_has_that_of_prompts_that_were_all_alike():
    """n = 32: Wilson's end at 0 is z²/(32 + z²) = 0.1072."""
    part = normal_point(0.05) ** 2 / (32 + normal_point(0.05) ** 2)
    known = {"asr": 0.0, "asr_low": 0.0, "asr_high": 0.0, "asr_n": 32}
    assert ends(known, "asr") == (0.0, 0.0, pytest.approx(part)) and part == pytest.approx(0.10718, abs=1e-5)
    assert ends({**known, "asr": 0.5, "asr_low": 0.5, "asr_high": 0.5}, "asr") == pytest.approx(
        (0.5, 0.5 - part / 2, 0.5 + part / 2)
    )


def known(tables):
    """What single prompts gave, of trials in a mapping of name to values."""
    named = {name: {f"prompt {place}": float(value) for place, value in enumerate(values)} for name, values in tables.items()}
    return lambda trial, figure: named.get(trial, {})


def tables_of(rows, values):
    return known({row.trial: one for row, one in zip(rows, values, strict=True)})


def two_trials(first, second, seeds=(0,)):
    """Trials at two gammas, of prompts that gave these values."""
    rows, tables = [], {}
    for (gamma, values), seed in itertools.product(((0.1, first), (0.2, second)), seeds):
        rate = wilson(sum(values), len(values))
        row = trial(seed, win=rate.value, n=len(values), gamma=gamma)
        row.figures.update({"win_rate_low": rate.low, "win_rate_high": rate.high})
        rows.append(row)
        tables[row.trial] = values
    return rows, known(tables)


def paired(first, second, seeds=(0,)):
    rows, by_prompt = two_trials(first, second, seeds)
    (effect,) = effects_of(rows, ["win_rate"], by_prompt).effects
    return effect


def test_two_single_trials_are_compared_by_mcnemars_exact_test():
    """Six prompts of 32 went up, none down: 2 * 2^-6 = .031, a difference; of five .0625, none. Unpaired neither shows."""
    assert paired([0] * 32, [1] * 6 + [0] * 26).shown and not paired([0] * 32, [1] * 5 + [0] * 27).shown
    assert not effects_of(two_trials([1] * 8 + [0] * 24, [1] * 14 + [0] * 18)[0], ["win_rate"]).effects[0].shown
    assert paired([1] * 8 + [0] * 24, [1] * 14 + [0] * 18).shown


def test_the_interval_of_a_paired_difference_by_hand():
    """Of 32 differences 8 are 1 and 2 are -1: mean .1875, sum of squares 10 - 32 * .1875² = 8.875, / 31 / 32 = .0089466; one
    answer more may differ: + 1 / 32² = .0099231. t(31) = 2.0395: -+ .20317."""
    effect = paired([0] * 8 + [1] * 2 + [0] * 22, [1] * 8 + [0] * 2 + [0] * 22)
    assert (effect.paired, effect.prompts, effect.difference) == (True, 32, pytest.approx(0.1875))
    assert (effect.low, effect.high) == (pytest.approx(0.1875 - 0.20317, abs=1e-4), pytest.approx(0.1875 + 0.20317, abs=1e-4))


def test_prompts_that_did_not_move_leave_a_width():
    effect = paired([1] * 16 + [0] * 16, [1] * 16 + [0] * 16)
    assert effect.difference == 0 and not effect.shown and 0.03 < effect.high == -effect.low < 0.1


def test_seeds_that_moved_by_different_amounts_widen_a_paired_interval():
    """Each prompt moves at one of two seeds or at neither; all at one seed, or half at either."""
    half, none, every = [1] * 16 + [0] * 16, [0] * 32, [1] * 32
    rows = [trial(seed, win=win, n=32, gamma=gamma) for seed, gamma, win in ((0, 1, 0), (0, 2, 1), (1, 1, 0), (1, 2, 0))]
    torn = effects_of(rows, ["win_rate"], tables_of(rows, (none, every, none, none)))
    rows = [replace(row, figures={**row.figures, "win_rate": 0.5 * (row.swept["selector.gamma"] == 2)}) for row in rows]
    calm = effects_of(
        rows, ["win_rate"], known(dict(zip((row.trial for row in rows), (none, half, none, half[::-1]), strict=True)))
    )
    assert torn.effects[0].paired and calm.effects[0].paired
    assert torn.effects[0].low == -1 and not torn.effects[0].shown and calm.effects[0].shown


def test_trials_of_other_prompts_are_compared_by_their_summaries():
    rows, _ = two_trials([0] * 32, [1] * 32)
    others = {rows[0].trial: {"a": 0.0, "b": 0.0}, rows[1].trial: {"c": 1.0, "d": 1.0}}
    (effect,) = effects_of(rows, ["win_rate"], lambda name, figure: others[name]).effects
    assert not effect.paired and effect.shown


def test_an_unbounded_figure_is_not_cut_to_what_shares_can_differ_by():
    rows = [trial(gamma=gamma) for gamma in (0.1, 0.2)]
    for row, value in zip(rows, (-3.0, 4.0), strict=True):
        row.figures.update({"refusal_margin": value, "refusal_margin_low": value - 1, "refusal_margin_high": value + 1})
    (effect,) = effects_of(rows, ["refusal_margin"]).effects
    assert (effect.difference, effect.high) == (7.0, pytest.approx(7 + math.sqrt(2)))
    tables = {row.trial: [row.figures["refusal_margin"] + place % 3 - 1 for place in range(30)] for row in rows}
    assert effects_of(rows, ["refusal_margin"], known(tables)).effects[0].high > 6.9


def test_holms_test_by_hand():
    """.05 / 4 = .0125, .05 / 3 = .0167, .05 / 2 = .025: .03 is too large, and so is all that follows."""
    assert holm([0.04, 0.01, 0.03, 0.015]) == [False, True, False, True]
    assert holm([0.01, 0.02, 0.03]) == [True, True, True] and holm([]) == []


def test_of_many_numbers_neighbours_are_taken_together():
    """Sixteen values, four a range: the win rate is the value."""
    rows = [trial(win=number / 16, gamma=number / 16) for number in range(16)]
    found = effects_of(rows, ["win_rate"]).effects
    assert len(found) == 6 and found[0].levels == (("0 to 0.1875",), ("0.25 to 0.4375",))
    assert found[0].means == (pytest.approx(1.5 / 16), pytest.approx(5.5 / 16))


def test_values_that_are_lists_are_levels_like_others():
    rows = [trial(win=0.1 * len(layers), gamma=layers) for layers in ([1], [1, 2])]
    assert only(rows).levels == (([1],), ([1, 2],))


def test_a_pair_of_one_seed_has_the_luck_of_the_others():
    """Gammas 0.1 and 0.2 have both seeds and scatter by -+0.05 against each other: residuals -+0.025, variance 4 * 0.000625 / 1.
    Gamma 0.3 has seed 0 alone: its difference of 0.2 is no surer than t(1) sqrt(2 * 0.0025)."""
    rows = [trial(s, win=0.5 + 0.05 * (s == number), gamma=g) for number, g in enumerate((0.1, 0.2)) for s in (0, 1)]
    rows.append(trial(0, win=0.75, gamma=0.3))
    alone = next(effect for effect in effects_of(rows, ["win_rate"]).effects if effect.levels == ((0.1,), (0.3,)))
    assert alone.seeds == 1 and alone.low == -1 and 0.2 + t_point(1, 0.05 / 3) * math.sqrt(0.005) > 1
