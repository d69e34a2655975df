"""Cached or live reference, packed or padded, checkpointed or not: one loss trajectory.

In float64 (`tiny.exact`), where it holds to the twelfth digit; in float32 for one objective and the selector, as far as it goes.
"""

from collections.abc import Sequence

import pytest
import tiny
import torch
from tolerances import TINY, after_adam, likely

from raysafe.config.sections import TrainingSettings
from raysafe.context import local_context
from raysafe.data.tokens import TokenRow
from raysafe.objectives import OBJECTIVES
from raysafe.ranking.learning import SelectorData, SelectorRun, engine_settings, learned_state, open_learners
from raysafe.selection.seal import Seal
from raysafe.training.engine import PlainEngine
from raysafe.training.loop import train
from raysafe.training.step import Run, TrainingData

VARIANTS = {
    "packed": {"batching": "packed"},
    "padded": {"batching": "padded"},
    "checkpointed": {"gradient_checkpointing": True},
    "checkpointed and padded": {"gradient_checkpointing": True, "batching": "padded"},
    "split": {"accumulation": 3},
}


class Live(Sequence):
    """A frozen model that is asked anew for every row of every step, where the trainer has its stored answers."""

    def __init__(self, model, rows):
        self.model, self.rows, self.asked = model, rows, 0

    def __getitem__(self, place):
        self.asked += 1
        return tiny.log_probs(self.model, [self.rows[place]])[0]

    def __len__(self):
        return len(self.rows)


def pairs(count):
    """Safe and harmful answers to shared prompts, long enough to be packed as such."""
    draw = torch.Generator().manual_seed(3)

    def ids(low, high):
        return torch.randint(2, 40, (int(torch.randint(low, high, (1,), generator=draw)),), generator=draw).tolist()

    prompts = [ids(9, 14) for _ in range(count)]
    return {name: [TokenRow(i, (*p, *ids(3, 12)), len(p)) for i, p in enumerate(prompts)] for name in ("safe", "harmful")}


DTYPES = {torch.float64: tiny.exact_llama, torch.float32: tiny.llama}
STEPS, LR = 9, 3e-3


def tolerance(dtype):
    """A loss adds up to 20 log-probabilities of up to 8 nats of both signs, in places less than 64 in all; gradients have norms
    below 32. 1e-12 in float64, 5e-4 in float32."""
    return 64 * likely(TINY, dtype) + after_adam(STEPS, LR, 32, TINY, dtype)


def data(objective, live=False, model=DTYPES[torch.float64]):
    rows = {"retain": tiny.token_rows(7, seed=1)} | {name: pairs(6)[name] for name in objective.alignment}
    models = {"reference": model(seed=5), "proxy": model(seed=6)}
    frozen = {
        stream: {name: Live(models[name], rows[stream]) if live else tiny.log_probs(models[name], rows[stream]) for name in names}
        for stream, names in objective.frozen_models.items()
    }
    return TrainingData(rows, frozen, padded=40)


def trajectory(objective, live=False, dtype=torch.float64, **change):
    settings = TrainingSettings(**{"epochs": 3, "batch_size": 3, "lr": LR, **change})
    told, rows = [], data(objective, live, DTYPES[dtype])
    engine = PlainEngine(DTYPES[dtype], settings)
    train(engine, Run(objective, rows, settings), local_context(lambda step, row: told.append(row)), lambda e, n: {})
    return [row[key] for row in told for key in sorted(row) if key.endswith("loss")], rows


@pytest.fixture(scope="module")
def straight():
    return {name: trajectory(objective())[0] for name, objective in OBJECTIVES.items()}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_how_the_step_is_computed_changes_no_loss(name, variant, straight):
    losses, _ = trajectory(OBJECTIVES[name](), **VARIANTS[variant])
    assert losses == pytest.approx(straight[name], rel=0, abs=tolerance(torch.float64))


def test_in_float32_it_changes_none_beyond_its_digits(straight):
    for variant in VARIANTS.values():
        losses, _ = trajectory(OBJECTIVES["wdoor"](), dtype=torch.float32, **variant)
        assert losses == pytest.approx(straight["wdoor"], rel=0, abs=tolerance(torch.float32))


@pytest.mark.parametrize("name", [name for name, objective in OBJECTIVES.items() if objective().frozen_models])
def test_a_stored_reference_is_a_live_one(name, straight):
    losses, rows = trajectory(OBJECTIVES[name](), live=True)
    assert losses == pytest.approx(straight[name], rel=0, abs=tolerance(torch.float64))
    asked = [model.asked for models in rows.frozen.values() for model in models.values()]
    assert min(asked) == 3 * 3 * 3  # each row of three epochs of three steps of three rows


def ranked(dtype=torch.float64, **change):
    safe = tiny.token_rows(9, seed=4)
    seal = Seal(gamma=0.2, lr=1 / 3, model_lr=LR, epochs=2, batch_size=6, safe_batch_size=6, **change.pop("seal", {}))
    told = []
    settings = engine_settings(seal, TrainingSettings(**change))
    rows = SelectorData(pairs(13)["safe"], safe, 13, None)
    context = local_context(lambda step, row: told.append(row))
    with open_learners(seal, PlainEngine, DTYPES[dtype], settings, context.device) as learners:
        omega = learned_state(learners, SelectorRun(seal, rows, 0), context).omega_N
    return omega, [row[key] for row in told for key in sorted(row) if key.endswith("loss")]


WAYS = [name for name in VARIANTS if name != "split"]


def assert_same_ranking(one, other, dtype):
    """Losses as in `tolerance`. A row of D is visited twice; a visit moves it by lr w_j l_j, lr 1/3, w at most N = 13, l
    with Algorithm 1 the difference of two losses."""
    assert other[1] == pytest.approx(one[1], rel=0, abs=tolerance(dtype))
    assert other[0].tolist() == pytest.approx(one[0].tolist(), rel=0, abs=2 * (1 / 3) * 13 * 2 * tolerance(dtype))


@pytest.mark.parametrize("variant", WAYS)
@pytest.mark.parametrize("algorithm", [1, 2])
def test_how_the_selectors_step_is_computed_changes_no_score(algorithm, variant):
    seal = {"algorithm": algorithm}
    assert_same_ranking(ranked(seal=dict(seal)), ranked(seal=dict(seal), **VARIANTS[variant]), torch.float64)


@pytest.mark.parametrize("algorithm", [1, 2])
def test_in_float32_the_scores_are_the_same_to_its_digits(algorithm):
    exact = ranked(seal={"algorithm": algorithm})
    for variant in WAYS:
        assert_same_ranking(exact, ranked(torch.float32, seal={"algorithm": algorithm}, **VARIANTS[variant]), torch.float32)
