"""What every source of trials keeps to."""

from types import SimpleNamespace

import pytest

from raysafe.sweep.search import SEARCHES

PLANS = [SimpleNamespace(name=name) for name in ("000-a", "001-b", "002-c")]


@pytest.fixture(params=SEARCHES.values(), ids=SEARCHES)
def source(request):
    return request.param(PLANS)


def test_it_gives_trials_of_different_names_and_then_says_that_there_are_no_more(source):
    given = [source.next() for _ in PLANS]
    assert len({plan.name for plan in given}) == len(PLANS) and source.next() is source.next() is None


def test_it_may_be_told_of_any_trial_at_any_time(source):
    plan = source.next()
    source.tell(plan.name, {"epoch": 1, "safety_score": 0.5}, ended=False)
    source.tell(plan.name, {}, ended=True)
    assert source.next() is not None


def test_the_grid_goes_through_the_file_in_order_whatever_it_is_told():
    grid = SEARCHES["grid"](PLANS)
    for plan in PLANS:
        assert grid.next() is plan
        grid.tell(plan.name, {"safety_score": 0.0}, ended=True)
