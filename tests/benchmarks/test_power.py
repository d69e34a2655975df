"""What a sweep's answer claims and finds: a smaller version of the table of docs/statistics.md."""

import numpy as np
import power
import pytest


@pytest.mark.parametrize(("seeds", "prompts"), [(1, 32), (1, 150), (2, 32), (3, 32), (5, 32)])
def test_where_nothing_has_an_effect_hardly_ever_one_is_shown(seeds, prompts):
    """At most 5 % of sweeps may show something: 6 of 40 or more then have a chance of 1 in 70. Prompts react to settings in ways
    of their own, and trials have luck."""
    random = np.random.default_rng(seeds)
    assert sum(bool(power.shown(*power.made_up(random, seeds, prompts=prompts))) for _ in range(40)) < 6


def test_what_has_an_effect_is_shown_and_sooner_where_prompts_are_pairs():
    """1.2 in the log-odds is .18 in the rate. By summaries five seeds show it in 43 of 100 sweeps, by prompts in 85."""
    random = np.random.default_rng(0)
    false, found, _, found_before = power.counted(power.made_up(random, 5, effect=1.2) for _ in range(20))
    assert false <= 3 and found >= 13 and found > found_before
