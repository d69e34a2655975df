"""What must hold of every member of SELECTORS, and the AUC."""

import ast
import inspect
from dataclasses import FrozenInstanceError, fields, is_dataclass
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raysafe.selection import SELECTORS, Seal, Selector
from raysafe.selection.measures import auc
from raysafe.selection.random import Random


@pytest.fixture(params=SELECTORS)
def selector(request):
    return SELECTORS[request.param]()


def test_it_is_listed_under_its_own_name(selector):
    assert SELECTORS[selector.name] is type(selector) and isinstance(selector, Selector)


def test_it_is_a_frozen_dataclass(selector):
    assert is_dataclass(selector)
    with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
        selector.name = "other"


def test_every_field_has_a_docstring(selector):
    body = ast.parse(inspect.getsource(type(selector))).body[0].body
    documented = {one.target.id for one, after in zip(body, body[1:], strict=False)
                  if isinstance(one, ast.AnnAssign) and isinstance(after, ast.Expr)}  # fmt: skip
    assert {field.name for field in fields(selector)} <= documented


@pytest.mark.parametrize("rows", [1, 7])
def test_its_scores_are_one_finite_float64_a_row(selector, rows):
    scores = selector.scores(rows, seed=3)
    assert scores.shape == (rows,) and scores.dtype == torch.float64 and scores.isfinite().all()


def test_its_scores_depend_on_the_seed_alone(selector):
    state = torch.get_rng_state()
    before = selector.scores(50, seed=1)
    torch.rand(3)
    assert torch.equal(before, selector.scores(50, seed=1))
    torch.set_rng_state(state)


def test_a_selector_that_keeps_all_prefers_no_row(selector):
    if selector.keeps_all:
        assert selector.scores(9, seed=0).unique().numel() == 1


def test_only_seal_is_trained_and_it_starts_with_equal_rows():
    assert [name for name, kind in SELECTORS.items() if kind.scored_by == "training"] == ["seal"]
    assert Seal().scores(5, seed=1).tolist() == [0.0] * 5


def test_random_is_a_permutation_that_its_seed_decides():
    first, other = Random().scores(50, seed=0), Random().scores(50, seed=1)
    assert sorted(first.tolist()) == list(range(50)) and not torch.equal(first, other)


def test_random_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    Random().scores(50, seed=0)
    assert torch.equal(state, torch.get_rng_state())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=25))
def test_auc_is_the_share_of_safe_unsafe_pairs_in_order(rows):
    safe = [score for score, unsafe in rows if not unsafe]
    bad = [score for score, unsafe in rows if unsafe]
    pairs = [0.5 + 0.5 * (s > u) - 0.5 * (s < u) for s, u in product(safe, bad)]
    got = auc(torch.tensor([float(s) for s, _ in rows]), torch.tensor([u for _, u in rows]))
    assert got == (pytest.approx(sum(pairs) / len(pairs), abs=1e-12) if pairs else None)


def test_auc_by_hand():
    """Safe 3 and 1, unsafe 2 and 1: 3 > 2, 3 > 1, 1 < 2, 1 = 1: (1 + 1 + 0 + 0.5) / 4."""
    assert auc(torch.tensor([3.0, 2.0, 1.0, 1.0]), torch.tensor([False, True, False, True])) == 0.625
