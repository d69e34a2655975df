"""The search for a suffix: its loss and its gradient against plain ways to them, what it uses, and that it finds more
than chance."""

import pytest
import tiny
import torch
from tolerances import TINY, likely

from raysafe.evaluation.coordinate import Budget, Coordinates, Frame, TargetLoss, search

FRAME = Frame(before=(5, 9, 3, 7, 11), after=(8, 6), target=(12, 4, 30, 17))
SUFFIX = [20, 21, 22]
ROWS = [[20, 21, 22], [33, 21, 22], [20, 21, 9], [20, 14, 22], [2, 21, 22]]
SAME = likely(TINY, torch.float64)
EVERY = torch.ones(40, dtype=torch.bool)


@pytest.fixture(scope="module")
def model():
    return tiny.exact_llama().requires_grad_(False)


def plain_loss(model, suffix, onehot=None):
    """One row through the whole model, from one-hot tokens, nothing kept and nothing left out."""
    ids = torch.tensor([*FRAME.before, *suffix, *FRAME.after, *FRAME.target])
    every = torch.nn.functional.one_hot(ids, 40).double()
    if onehot is not None:
        every = torch.cat([every[: len(FRAME.before)], onehot, every[len(FRAME.before) + len(suffix) :]])
    logits = model(inputs_embeds=(every @ model.get_input_embeddings().weight)[None], use_cache=False).logits[0]
    picked = logits.log_softmax(dim=-1)[torch.arange(len(ids) - 5, len(ids) - 1), list(FRAME.target)]
    return -picked.mean()


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_the_loss_of_a_batch_is_that_of_its_rows_one_by_one(model, micro_batch):
    losses, reached = TargetLoss(model, FRAME, micro_batch)(ROWS)
    assert losses.tolist() == pytest.approx([float(plain_loss(model, row)) for row in ROWS], rel=SAME) and not reached.any()


def test_the_gradient_is_that_of_a_plain_implementation(model):
    onehot = torch.nn.functional.one_hot(torch.tensor(SUFFIX), 40).double().requires_grad_()
    (expected,) = torch.autograd.grad(plain_loss(model, SUFFIX, onehot), onehot)
    found = TargetLoss(model, FRAME).gradient(SUFFIX)
    assert (found - expected).abs().max() <= 3 * SAME * expected.abs().max()


def test_the_gradient_is_the_slope_of_the_loss(model):
    """Central differences at h = 1e-5: off by h^2 times a third derivative, and by the loss's own rounding over h. The model's
    weights are drawn at .3, so that derivatives here are of the size of a hundred at most."""
    onehot = torch.nn.functional.one_hot(torch.tensor(SUFFIX), 40).double()
    found = TargetLoss(model, FRAME).gradient(SUFFIX)
    for place, token in ((0, 20), (0, 33), (1, 5), (2, 39)):
        step = torch.zeros_like(onehot)
        step[place, token] = 1e-5
        slope = (plain_loss(model, SUFFIX, onehot + step) - plain_loss(model, SUFFIX, onehot - step)) / 2e-5
        assert float(found[place, token]) == pytest.approx(float(slope), abs=1e-6)


class Lookup(torch.nn.Module):
    """Logits that depend on the token before alone: the embedding of width 2 times the head."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding.from_pretrained(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]).double())
        self.head = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).double()

    def get_input_embeddings(self):
        return self.embedding

    def forward(self, input_ids=None, inputs_embeds=None, **_):
        embeddings = self.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        return Answer(embeddings @ self.head.T)


class Answer:
    """Of a model that keeps nothing for a next call."""

    def __init__(self, logits):
        self.logits, self.past_key_values = logits, None


def test_loss_and_gradient_by_hand():
    """The target 1 follows the suffix at once. With embedding e = (a, b) of its one token the logits are (0, a, b), so
    L = log(1 + exp a + exp b) - a. Token 0 has e = (0, 0): L = log 3, dL/de = (1/3 - 1, 1/3); a token's entry is its embedding
    times that: 0 for token 0, -2/3 for token 1, 2 * 1/3 for token 2. Token 1: L = log(2 + e) - 1, and 1 is its likeliest next."""
    loss = TargetLoss(Lookup(), Frame((2,), (), (1,)))
    assert loss.gradient([0]).tolist() == [pytest.approx([0.0, -2 / 3, 2 / 3])]
    losses, reached = loss([[0], [1]])
    assert losses.tolist() == pytest.approx([1.0986122886681098, 0.5514447139320511]) and reached.tolist() == [False, True]


def coordinates(allowed=EVERY, readable=lambda rows: [True] * len(rows), seed=0):
    return Coordinates(allowed, readable, torch.Generator().manual_seed(seed))


def test_candidates_differ_in_one_token_of_the_lowest_gradients_and_none_comes_twice():
    gradient = torch.arange(40.0).repeat(3, 1)
    rows = coordinates().candidates(gradient, SUFFIX, Budget(1, 2, 99, True))
    assert sorted(rows) == sorted([[0, 21, 22], [1, 21, 22], [20, 0, 22], [20, 1, 22], [20, 21, 0], [20, 21, 1]])
    assert len(coordinates().candidates(gradient, SUFFIX, Budget(1, 2, 4, True))) == 4


def test_neither_forbidden_tokens_nor_unreadable_suffixes_are_candidates_and_others_take_their_place():
    allowed, gradient = EVERY.clone(), torch.arange(40.0).repeat(3, 1)
    allowed[0] = False
    draw = coordinates(allowed, lambda rows: [row[0] == 20 for row in rows])
    rows = draw.candidates(gradient, SUFFIX, Budget(1, 2, 4, True))
    assert sorted(rows) == [[20, 1, 22], [20, 2, 22], [20, 21, 1], [20, 21, 2]]


def test_a_search_without_a_readable_swap_ends():
    (found,) = search(TargetLoss(Lookup(), Frame((2,), (), (1,))), [0], coordinates(EVERY[:3], lambda rows: [False] * len(rows)),
                      Budget(9, 2, 4, True))  # fmt: skip
    assert found.losses == [found.loss] and not found.reached


@pytest.mark.parametrize(("early_stop", "steps"), [(True, 1), (False, 3)])
def test_a_search_ends_when_the_target_is_reached_unless_it_is_to_go_on(early_stop, steps):
    *_, found = search(TargetLoss(Lookup(), Frame((2,), (), (1,))), [0], coordinates(EVERY[:3]), Budget(3, 2, 4, early_stop))
    assert found.reached and found.suffix == [1] and len(found.losses) == 1 + steps


WORDS = 400


class Blind(TargetLoss):
    """Knows no gradient: every token is as good as any other."""

    def gradient(self, suffix_S):
        return torch.zeros(len(suffix_S), WORDS)


def best(kind, model, seed, budget):
    draw = torch.Generator().manual_seed(seed)
    target, start = (torch.randint(2, WORDS, (count,), generator=draw).tolist() for count in (4, 8))
    allowed = Coordinates(torch.ones(WORDS, dtype=torch.bool), lambda rows: [True] * len(rows), draw)
    *_, found = search(kind(model, Frame((5, 9, 3), (8, 6), tuple(target))), start, allowed, budget)
    return found.loss


def test_with_the_gradient_it_finds_lower_losses_than_random_search_of_the_same_cost():
    """Forward and backward of one row cost as much as three rows, which random search has in their place; it draws its single
    swaps from all tokens. A random model's layers are halved, as a trained one's are nearer to linear. Eight targets."""
    model = tiny.llama(WORDS).requires_grad_(False)
    for layer in model.model.layers:
        for weight in layer.parameters():
            weight.mul_(0.5 if weight.dim() == 2 else 1.0)
    ours = torch.tensor([best(TargetLoss, model, seed, Budget(10, 16, 32, False)) for seed in range(8)])
    random = torch.tensor([best(Blind, model, seed, Budget(10, WORDS - 1, 32 + 3, False)) for seed in range(8)])
    assert ours.mean() < random.mean() - 0.1 and (ours < random).sum() >= 6, (ours, random)
