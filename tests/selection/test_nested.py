"""Several percentages from one ranking: whatever made it, what a smaller share keeps is part of what a larger one keeps."""

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raysafe.ranking.dsir_library import dsir_scores
from raysafe.ranking.tables import Ranking, keep_top
from raysafe.selection import SELECTORS, kept_count
from raysafe.selection.seal import omega_start, omega_update

COUNT = 23
ROWS = [tiny.example(place, f"word {place % 5} of {place}", f"answer {place % 3}") for place in range(COUNT)]
SAFE = [tiny.example(place, "word 1 of", "answer 2") for place in range(3)]


def losses(seed):
    return 3 * torch.rand(COUNT, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seal_scores(selector, seed):
    """A few steps of omega on made-up losses."""
    state = omega_start(selector.scores(COUNT, seed), selector.optimizer)
    for step in range(4):
        rows = torch.randperm(COUNT, generator=torch.Generator().manual_seed(seed + step))[:8]
        state = omega_update(state, rows, losses(seed)[rows], selector.lr, selector.weights, selector.optimizer)
    return state.omega_N


SCORES = {
    "training": seal_scores,
    "frozen loss": lambda selector, seed: -losses(seed),
    "texts": lambda selector, seed: dsir_scores(ROWS, SAFE, selector, seed)[0],
    "itself": lambda selector, seed: selector.scores(COUNT, seed),
}


@pytest.mark.parametrize("name", SELECTORS)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 5),
    percents=st.lists(st.integers(1, 1000).map(lambda tenths: tenths / 10), min_size=2, max_size=4),
    dropped=st.sets(st.integers(0, COUNT - 1), max_size=4),
)
def test_kept_sets_are_nested_and_of_the_right_size(name, seed, percents, dropped):
    selector = SELECTORS[name]()
    scores = SCORES[selector.scored_by](selector, seed)
    ranking = Ranking.of(ROWS, scores.tolist(), dict.fromkeys(dropped, "too long"))
    kept = [set(keep_top(ranking, percent).rows) for percent in sorted(percents)]
    assert all(small <= large for small, large in zip(kept, kept[1:], strict=False))
    assert [len(rows) for rows in kept] == [min(kept_count(COUNT, p), COUNT - len(dropped)) for p in sorted(percents)]
