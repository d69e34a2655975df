"""Several percentages from one ranking: whatever made it, what a smaller share keeps is part of what a larger one keeps."""

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import Rows

from raysafe.ranking.tables import Ranking, keep_top
from raysafe.selection import SELECTORS, kept_count
from raysafe.selection.base import RowScores, Visit

COUNT = 23
ROWS = [tiny.example(place, f"word {place % 5} of {place}", f"answer {place % 3}") for place in range(COUNT)]


class Losses(Rows):
    """Made-up losses, and a few steps on them."""

    @property
    def places_K(self):
        return torch.arange(COUNT)

    def texts(self):
        return [f"word {place % 5} of {place} answer {place % 3}" for place in range(COUNT)]

    def frozen_losses(self):
        return 3 * torch.rand(COUNT, generator=torch.Generator().manual_seed(self.seed), dtype=torch.float64)

    def learn(self, selector):
        state = selector.start(COUNT, self.seed)
        for step in range(4):
            rows = torch.randperm(COUNT, generator=torch.Generator().manual_seed(self.seed + step))[:8]
            losses = dict.fromkeys(selector.models(), self.frozen_losses()[rows])
            state = selector.updated(state, Visit(rows, losses, selector.weights_of(state)))
        return RowScores(selector.scores_of(state))


@pytest.mark.parametrize("name", SELECTORS)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 5),
    percents=st.lists(st.integers(1, 1000).map(lambda tenths: tenths / 10), min_size=2, max_size=4),
    dropped=st.sets(st.integers(0, COUNT - 1), max_size=4),
)
def test_kept_sets_are_nested_and_of_the_right_size(name, seed, percents, dropped):
    scores = SELECTORS[name]().rank(Losses(COUNT, seed)).scores_N
    ranking = Ranking.of(ROWS, scores.tolist(), dict.fromkeys(dropped, "too long"))
    kept = [set(keep_top(ranking, percent).rows) for percent in sorted(percents)]
    assert all(small <= large for small, large in zip(kept, kept[1:], strict=False))
    assert [len(rows) for rows in kept] == [min(kept_count(COUNT, p), COUNT - len(dropped)) for p in sorted(percents)]
