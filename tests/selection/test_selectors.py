"""What must hold of every member of SELECTORS, and the AUC."""

import ast
import inspect
from dataclasses import FrozenInstanceError, fields, is_dataclass
from itertools import product
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import Rows
from tolerances import CHAIN

import raysafe.selection
from raysafe.selection import SELECTORS, Seal, Selector
from raysafe.selection.base import Learned
from raysafe.selection.loss import Loss
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


def test_nobody_outside_its_file_and_the_table_knows_its_class(selector):
    """What others need of it they ask it for."""
    source, name = Path(raysafe.selection.__file__).parents[1], type(selector).__name__
    others = [path for path in source.rglob("*.py") if path.parent.name != "selection"]
    assert len(others) > 50 and set.union(*map(names, others)) >= {"SELECTORS"}
    assert not [path for path in others if name in names(path)]


def names(path):
    """What a module takes from the selectors' package."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module.startswith("raysafe.selection")]
    return {alias.name for node in froms for alias in node.names}


def test_every_field_has_a_docstring(selector):
    body = ast.parse(inspect.getsource(type(selector))).body[0].body
    documented = {one.target.id for one, after in zip(body, body[1:], strict=False)
                  if isinstance(one, ast.AnnAssign) and isinstance(after, ast.Expr)}  # fmt: skip
    assert {field.name for field in fields(selector)} <= documented


@pytest.mark.parametrize("rows", [2, 7])
def test_its_scores_are_one_finite_float64_a_row(selector, rows):
    scores = selector.rank(Rows(rows, seed=3)).scores_N
    assert scores.shape == (rows,) and scores.dtype == torch.float64 and scores.isfinite().all()


def test_its_scores_depend_on_the_pool_and_its_seed_alone(selector):
    state = torch.get_rng_state()
    before = selector.rank(Rows(50, seed=1)).scores_N
    torch.rand(3)
    assert torch.equal(before, selector.rank(Rows(50, seed=1)).scores_N)
    torch.set_rng_state(state)


def test_it_leaves_the_global_generator_alone(selector):
    state = torch.get_rng_state()
    selector.rank(Rows(50))
    assert torch.equal(state, torch.get_rng_state())


def test_a_selector_that_keeps_all_prefers_no_row(selector):
    if selector.keeps_all:
        assert selector.rank(Rows(9)).scores_N.unique().numel() == 1


class Reading(Rows):
    """Notes what is asked of it."""

    def __getattribute__(self, name):
        part = {"safe_texts": {"safe"}, "frozen_losses": {"model"}, "learn": {"safe", "model"}}.get(name, set())
        object.__getattribute__(self, "asked").update(part)
        return object.__getattribute__(self, name)


def test_it_reads_what_it_says_it_reads(selector):
    pool = Reading(9)
    object.__setattr__(pool, "asked", set())
    selector.rank(pool)
    assert object.__getattribute__(pool, "asked") == selector.reads


def test_what_trains_says_so(selector):
    assert (selector.learned is selector) == isinstance(selector, Learned) and (selector.learned or selector) is selector


def test_seal_starts_with_equal_rows():
    assert Seal().start(5, seed=1).omega_N.tolist() == [0.0] * 5


def test_the_rows_of_smallest_frozen_loss_are_kept_first():
    assert Loss().rank(Rows(4)).scores_N.tolist() == [-3, -2, -1, 0]


def test_random_is_a_permutation_that_its_seed_decides():
    first, other = Random().rank(Rows(50)).scores_N, Random().rank(Rows(50, seed=1)).scores_N
    assert sorted(first.tolist()) == list(range(50)) and not torch.equal(first, other)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=25))
def test_auc_is_the_share_of_safe_unsafe_pairs_in_order(rows):
    safe = [score for score, unsafe in rows if not unsafe]
    bad = [score for score, unsafe in rows if unsafe]
    pairs = [0.5 + 0.5 * (s > u) - 0.5 * (s < u) for s, u in product(safe, bad)]
    got = auc(torch.tensor([float(s) for s, _ in rows]), torch.tensor([u for _, u in rows]))
    assert got == (pytest.approx(sum(pairs) / len(pairs), abs=CHAIN) if pairs else None)


def test_auc_by_hand():
    """Safe 3 and 1, unsafe 2 and 1: 3 > 2, 3 > 1, 1 < 2, 1 = 1: (1 + 1 + 0 + 0.5) / 4."""
    assert auc(torch.tensor([3.0, 2.0, 1.0, 1.0]), torch.tensor([False, True, False, True])) == 0.625
