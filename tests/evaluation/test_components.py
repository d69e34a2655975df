"""Components of variance by hand and by simulation, and intervals over several axes of seeds."""

import itertools

import numpy as np
import pytest

from raysafe.evaluation.components import PROMPT, REST, TOGETHER, Crossed, components, over_axes

AXES = ("world", "ranking", "training")


def table(values, axes=AXES):
    return Crossed.of(values, axes)


def found(*tables):
    return {one.source: one for one in components(tables)}


def test_two_seeds_by_two_prompts_by_hand():
    """y = [[1, 3], [2, 8]]: seed means 2 and 5, prompt means 1.5 and 5.5, mean 3.5. MS_seed = 2 (1.5² + 1.5²) = 9, MS_prompt =
    2 (2² + 2²) = 16; all squares 6.25 + .25 + 2.25 + 20.25 = 29, so MS_rest = 29 - 9 - 16 = 4. Hence σ²_seed = (9 - 4) / 2 = 2.5,
    σ²_prompt = (16 - 4) / 2 = 6, σ²_rest = 4; in the mean of the four they are 1.25, 3 and 1."""
    one = found(table({(0,): {"a": 1, "b": 3}, (1,): {"a": 2, "b": 8}}, ("seed",)))
    assert {name: (c.levels, c.df) for name, c in one.items()} == {"seed": (2, 1), PROMPT: (2, 1), REST: (4, 1)}
    assert [one[name].variance for name in ("seed", PROMPT, REST)] == pytest.approx([2.5, 6, 4])
    assert [one[name].of_mean for name in ("seed", PROMPT, REST)] == pytest.approx([1.25, 3, 1])


def test_two_rankings_by_two_trainings_without_prompts_by_hand():
    """Rates [[.2, .4], [.6, 1.0]]: as above with MS_ranking = 2 (.25² · 2) = .25, MS_training = 2 (.15² · 2) = .09, all squares
    .1225 + .0225 + .0025 + .2025 = .35, MS_rest = .01: components .12, .04, .01. The trials have no prompts to tell apart."""
    rates = dict(zip(itertools.product((0, 1), (0, 1)), (0.2, 0.4, 0.6, 1.0), strict=True))
    one = found(table({seeds: {"": rate} for seeds, rate in rates.items()}, ("ranking", "training")))
    assert [one[name].variance for name in ("ranking", "training", REST)] == pytest.approx([0.12, 0.04, 0.01])
    assert TOGETHER not in one and PROMPT not in one


def test_settings_are_pooled_each_about_its_own_mean():
    """The second setting lies 10 higher, and doubles the degrees of freedom, no more."""
    first = {(0,): {"a": 1, "b": 3}, (1,): {"a": 2, "b": 8}}
    second = {seeds: {prompt: value + 10 for prompt, value in values.items()} for seeds, values in first.items()}
    both = found(table(first, ("seed",)), table(second, ("seed",)))
    assert [both[name].df for name in ("seed", PROMPT, REST)] == [2, 2, 2]
    assert [both[name].variance for name in ("seed", PROMPT, REST)] == pytest.approx([2.5, 6, 4])


def test_a_source_of_one_value_is_not_there_and_none_is_negative():
    one = found(table({(0, 0, seed): {"a": 1.0, "b": 2.0} for seed in (0, 1)}))
    assert set(one) == {"training", PROMPT, REST} and one["training"].variance == 0
    alone = found(table({(0, 0, 0): {"a": 1.0, "b": 2.0}}))
    assert set(alone) == {REST} and alone[REST].variance == pytest.approx(0.5)  # prompt and answer can't be told apart


def test_seeds_that_move_together_are_one_source():
    both = found(table({(seed, seed): {"a": seed, "b": 2.0 * seed} for seed in (0, 1, 2)}, ("ranking", "training")))
    assert len({"ranking", "training", TOGETHER} & set(both)) == 1


SIGMAS = {"world": 0.6, "ranking": 0.4, "training": 0.3, TOGETHER: 0.2, PROMPT: 1.0, REST: 0.7}


def drawn(rng, shape=(4, 3, 3), prompts=24, sigmas=SIGMAS, nested=True):
    """Trials by seeds: normal effects of every source; worlds have prompts of their own."""
    effects = [rng.normal(0, sigmas[name], count) for name, count in zip(AXES, shape, strict=True)]
    of_prompt = rng.normal(0, sigmas[PROMPT], (shape[0] if nested else 1, prompts))
    trials = {}
    for seeds in itertools.product(*map(range, shape)):
        whole = sum(effect[seed] for effect, seed in zip(effects, seeds, strict=True)) + rng.normal(0, sigmas[TOGETHER])
        own = of_prompt[seeds[0] if nested else 0] + rng.normal(0, sigmas[REST], prompts) + whole
        trials[seeds] = {f"{seeds[0] if nested else 0} {place}": value for place, value in enumerate(own)}
    return trials


@pytest.mark.parametrize("missing", [0, 5])
def test_simulated_components_are_recovered_in_whole_and_unbalanced_tables(missing):
    """120 settings of 4 × 3 × 3 seeds, of which some trials are lost. A mean square has the standard error √(2 / df) of itself,
    and holds beside its component no more than .1 here (σ_p² / 24 + σ_together² / 9 + ...); four of them are allowed."""
    rng = np.random.default_rng(3)
    tables = []
    for _ in range(120):
        trials = list(drawn(rng).items())
        rng.shuffle(trials)
        tables.append(table(dict(trials[missing:])))
    for name, one in found(*tables).items():
        allowed = 4 * (2 / one.df) ** 0.5 * (SIGMAS[name] ** 2 + 0.1)
        assert one.variance == pytest.approx(SIGMAS[name] ** 2, abs=allowed), name


def test_intervals_over_axes_hold_the_truth():
    """200 draws of 4 × 3 × 3 seeds; three standard errors are .046 below .95."""
    rng = np.random.default_rng(5)
    inside = []
    for _ in range(200):
        rate = over_axes(drawn(rng, prompts=12), share=False)
        inside.append(rate.low <= 0 <= rate.high)
    assert 0.904 <= np.mean(inside) <= 0.99


def test_intervals_of_shares_over_axes_hold_the_truth():
    """Answers are yes where the sum of all effects is above 0, by symmetry half of them, in one world with prompts for all."""
    rng, inside = np.random.default_rng(7), []
    sigmas = SIGMAS | {"world": 0.0}
    for _ in range(200):
        trials = drawn(rng, (1, 4, 4), 24, sigmas, nested=False)
        rate = over_axes({seeds: {p: float(v > 0) for p, v in values.items()} for seeds, values in trials.items()})
        inside.append(rate.low <= 0.5 <= rate.high)
    assert 0.904 <= np.mean(inside) <= 0.99


def test_a_share_that_never_varies_keeps_the_width_of_its_prompts():
    """32 prompts, all 0 in four trials: Wilson's end for one trial, z² / (n + z²) = .107."""
    rate = over_axes({seeds: {str(p): 0.0 for p in range(32)} for seeds in itertools.product((0,), (0, 1), (0, 1))})
    assert (rate.low, rate.high) == pytest.approx((0, 0.107), abs=0.001)
