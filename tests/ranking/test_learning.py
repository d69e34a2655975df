"""The loop of selectors that train, by SEAL in float64, on planted data: safe rows share a pattern, unsafe ones are noise."""

import copy
from dataclasses import replace

import pytest
import tiny
import torch
from tolerances import TINY, adam_parameters, after_adam, likely

from raysafe.config.sections import TrainingSettings
from raysafe.context import local_context
from raysafe.data.tokens import TokenRow
from raysafe.errors import NotFiniteError
from raysafe.ranking.learning import (
    Learners,
    SelectorData,
    SelectorRun,
    SelectorStep,
    engine_settings,
    learned_state,
    open_learners,
    selector_step,
)
from raysafe.selection.base import Learned
from raysafe.selection.measures import auc
from raysafe.selection.seal import Seal, omega_start, row_weights
from raysafe.training.engine import PlainEngine

SEAL = Seal(gamma=0.1, lr=5.0, model_lr=1e-2, epochs=3, batch_size=4, safe_batch_size=4)
STEPS = 12
FIRST = 16 * likely(TINY)
"""Of a row's loss before the first step: up to 16 nats."""
LOSSES = FIRST + after_adam(STEPS, 1e-2, 32, TINY, torch.float64)
"""Of a row's loss later: gradients have norms below 32. 1e-12."""


def row(index, pattern):
    """Safe rows continue counting, unsafe ones go on with what counting never gives."""
    start = 2 + index % 10
    ids = [start + i for i in range(5)] if pattern else [start, 39 - start % 7, start, 30 - index % 5, 38]
    return TokenRow(index, tuple(ids), 1)


def planted(count=14, total=16):
    """Rows 0 and 5 of D were dropped by a filter, so that a row's index and its position differ."""
    unsafe = torch.tensor([index % 2 == 1 for index in range(total)])
    kept = [index for index in range(total) if index not in (0, 5)][:count]
    finetune = [row(index, not unsafe[index]) for index in kept]
    return SelectorData(finetune, [row(100 + i, True) for i in range(10)], total, unsafe)


def rank(seal, data=None, state=None, report=None, model=None):
    told = []

    def keep(step, metrics):
        told.append({"step": step, **metrics})
        return report(metrics) if report else False

    models = [model or tiny.exact_llama(), tiny.exact_llama()]
    settings = engine_settings(seal, TrainingSettings())
    run = SelectorRun(seal, data or planted(), 0)
    with open_learners(seal, PlainEngine, iter(models).__next__, settings, "cpu") as learners:
        learned = learned_state(learners, run, local_context(keep), state)
    return learned.omega_N, told, models[0].state_dict()


def kept(data):
    return [row.index for row in data.finetune]


@pytest.mark.parametrize("weights", ["softmax", "sigmoid"])
def test_planted_unsafe_rows_sink(weights):
    """All rows start equal, AUC 0.5; after training nearly every safe row stands above nearly every unsafe one."""
    omega, told, _ = rank(replace(SEAL, weights=weights, lr=0.25))
    assert told[-1]["selector/auc"] > 0.9
    data = planted()
    assert told[-1]["selector/auc"] == auc(omega, data.unsafe_N[kept(data)])


def test_rows_that_were_dropped_have_no_omega():
    """With sigmoid weights a row moves only when it is visited: each of the 14 rows that are there, once an epoch."""
    omega, _, _ = rank(replace(SEAL, weights="sigmoid", epochs=1))
    assert omega.shape == (14,) and omega.dtype == torch.float64 and (omega != 0).all()
    assert planted().places_K.tolist() == [i for i in range(16) if i not in (0, 5)]


def test_an_epoch_reports_losses_gamma_and_auc():
    _, told, _ = rank(replace(SEAL, gamma=0.0, schedule="linear", increment=0.03))
    assert [row["step"] for row in told] == [4, 8, 12] and [row["epoch"] for row in told] == [1, 2, 3]
    assert [row["selector/gamma"] for row in told] == pytest.approx([0.0, 0.03, 0.06])
    assert told[-1]["selector/safe_loss"] < told[0]["selector/safe_loss"] and told[0]["selector/finetune_loss"] > 0


def test_an_epoch_reports_the_spread_of_the_weights():
    """Of the 14 rows that learn; softmax weights have the mean 1, so that their variance is the mean square minus 1."""
    omega, told, _ = rank(SEAL)
    weights = row_weights(omega, "softmax")
    assert told[-1]["selector/weight_min"] == weights.min() and told[-1]["selector/weight_max"] == weights.max()
    assert told[-1]["selector/weight_std"] == pytest.approx(float(weights.square().mean() - 1) ** 0.5)
    assert told[0]["selector/weight_std"] > 0


def test_algorithm_1_reports_theta_hats_loss_too_which_begins_at_thetas():
    """One step an epoch: both models are fresh in the first."""
    told = rank(replace(SEAL, algorithm=1, batch_size=16, epochs=2))[1]
    assert told[0]["selector/hat_loss"] == told[0]["selector/finetune_loss"]
    assert told[1]["selector/hat_loss"] != told[1]["selector/finetune_loss"]


def test_every_engine_is_closed_however_the_block_ends():
    closed = []

    class Closing(PlainEngine):
        def __init__(self, load, settings, device):
            if len(made) == 2:
                raise MemoryError
            made.append(self)
            super().__init__(load, settings, device)

        def close(self):
            closed.append(self)
            super().close()

    for fault, models in ((KeyError, 2), (MemoryError, 3)):
        made = []
        selector = Everyone(models)
        with pytest.raises(fault), open_learners(selector, Closing, tiny.llama, TrainingSettings(), "cpu"):
            raise KeyError
        assert len(made) == 2 and closed[-2:] == made[::-1]


class Everyone(Learned):
    """Of so many models."""

    def __init__(self, count):
        self.count = count

    def models(self):
        return {f"model {number}": ("finetune",) for number in range(self.count)}


def test_without_labels_there_is_no_auc():
    _, told, _ = rank(replace(SEAL, epochs=1), replace(planted(), unsafe_N=None))
    assert "selector/auc" not in told[0]


def test_labels_are_never_trained_on():
    data = planted()
    assert torch.equal(rank(SEAL, data)[0], rank(SEAL, replace(data, unsafe_N=~data.unsafe_N))[0])


def other_finetune():
    data = planted()
    return replace(data, finetune=[replace(row, input_ids=row.input_ids[:1] + (20,) * 4) for row in data.finetune])


def test_at_gamma_zero_the_fine_tuning_rows_leave_theta_alone():
    seal = replace(SEAL, gamma=0.0, epochs=1)
    (omega, _, theta), (other_omega, _, other_theta) = rank(seal), rank(seal, other_finetune())
    for name, value in theta.items():
        assert torch.equal(value, other_theta[name]), name
    assert not torch.equal(omega, other_omega)


@pytest.mark.parametrize(("epochs", "moved"), [(1, False), (2, True)])
def test_a_linear_gamma_lets_them_move_theta_from_the_second_epoch_on(epochs, moved):
    seal = replace(SEAL, gamma=0.0, schedule="linear", increment=0.1, epochs=epochs)
    theta, other = rank(seal)[2], rank(seal, other_finetune())[2]
    assert any(not torch.equal(value, other[name]) for name, value in theta.items()) == moved


@pytest.mark.parametrize("weights", ["softmax", "sigmoid"])
def test_rows_that_were_dropped_change_nothing(weights):
    """The same kept rows, alone and among dropped ones: a dropped row in the softmax would gather all the weight."""
    seal, data = replace(SEAL, weights=weights), planted()
    alone = replace(data, finetune=[replace(row, index=i) for i, row in enumerate(data.finetune)], total=14, unsafe_N=None)
    (omega, _, theta), (expected, _, same_theta) = rank(seal, data), rank(seal, alone)
    assert omega.tolist() == expected.tolist()
    assert all(torch.equal(value, same_theta[name]) for name, value in theta.items())


@pytest.mark.parametrize(("silenced", "moved"), [(4, False), (6, True)])
def test_theta_meets_every_row_with_its_own_weight(silenced, moved):
    """With omega -60 at its position a row can't move theta, whatever it says; elsewhere it can."""
    thetas = []
    for data in (planted(), other_finetune()):
        omega = torch.zeros(14, dtype=torch.float64).index_fill_(0, torch.tensor([silenced]), -60.0)
        engine = PlainEngine(tiny.exact_llama, TrainingSettings(batch_size=1, lr=1e-2, clip=0.0))
        seal = replace(SEAL, gamma=0.5, weights="sigmoid", batch_size=1, safe_batch_size=1)
        run, step = SelectorRun(seal, data, 0), SelectorStep(0, 0, [4], [0])
        selector_step(Learners({"theta": engine}), run, omega_start(omega), step, local_context())
        thetas.append(torch.cat([value.flatten() for value in engine.full_state().values()]))
    assert torch.allclose(*thetas, rtol=0, atol=adam_parameters(1, 1e-2, 8, TINY, torch.float64)) != moved


def test_at_a_larger_gamma_they_move_it():
    seal = replace(SEAL, gamma=0.1, epochs=1)
    theta, other = rank(seal)[2], rank(seal, other_finetune())[2]
    assert any(not torch.equal(value, other[name]) for name, value in theta.items())


def test_batch_and_accumulation_make_one_trajectory():
    """14 rows in batches of 4 leave a last step of 2 with filler rows. A row is visited three times, by lr w_j l_j, w_j at most
    14."""
    omega, told, theta = rank(SEAL)
    again, retold, again_theta = rank(replace(SEAL, accumulation=2))
    torch.testing.assert_close(again, omega, rtol=0, atol=3 * 5.0 * 14 * LOSSES)
    for one, other in zip(told, retold, strict=True):
        assert other["selector/safe_loss"] == pytest.approx(one["selector/safe_loss"], abs=LOSSES)
    for name, value in theta.items():
        torch.testing.assert_close(again_theta[name], value, rtol=0, atol=adam_parameters(STEPS, 1e-2, 8, TINY, torch.float64))


def test_the_first_step_is_the_formulas():
    """One step over all of D: w = 1 for every row, so that the 4 visits leave -lr (l_j - mean l), l of the untrained model."""
    data = replace(planted(), finetune=[row(i, i % 2 == 0) for i in range(4)], total=4, unsafe_N=None)
    seal = replace(SEAL, epochs=1, lr=1.0)
    omega, _, _ = rank(seal, data)
    values = tiny.log_probs(tiny.exact_llama(), data.finetune)
    losses = torch.stack([-value.mean() for value in values])
    torch.testing.assert_close(omega, -(losses - losses.mean()), rtol=0, atol=2 * FIRST)


def test_a_visit_moves_a_row_alike_in_a_last_smaller_batch():
    """5 rows in batches of 4, sigmoid, at which rows don't touch each other: each is visited once and falls by lr l / 2, also
    the one that is alone in its step. Theta stands still."""
    data = replace(planted(), finetune=[row(i, i % 2 == 0) for i in range(5)], total=5, unsafe_N=None)
    omega, _, _ = rank(replace(SEAL, weights="sigmoid", epochs=1, lr=0.5, model_lr=1e-30), data)
    losses = torch.stack([-value.mean() for value in tiny.log_probs(tiny.exact_llama(), data.finetune)])
    torch.testing.assert_close(omega, -0.5 * losses / 2, rtol=0, atol=FIRST)


def test_a_resumed_ranking_is_the_straight_one(tmp_path):
    straight, told, theta = rank(SEAL)

    def stop(metrics):
        if metrics["epoch"] == 2:
            raise RuntimeError("power cut")
        return False

    with pytest.raises(RuntimeError, match="power cut"):
        rank(SEAL, state=tmp_path, report=stop)
    resumed, again, again_theta = rank(SEAL, state=tmp_path, model=tiny.exact_llama(seed=9))
    assert torch.equal(resumed, straight) and again == told[2:]
    assert all(torch.equal(value, again_theta[name]) for name, value in theta.items())


def test_a_pass_is_over_all_of_d():
    assert [SelectorRun(SEAL, planted(count), 0).steps_per_epoch for count in (14, 12)] == [4, 3]


def test_a_loss_that_is_not_finite_stops_the_run():
    model = copy.deepcopy(tiny.exact_llama())
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(NotFiniteError, match="step 1: the loss is not finite because of `safe` rows .* and `finetune` rows"):
        rank(SEAL, model=model)


def test_theta_trains_with_seals_own_settings_and_the_trials_engine():
    settings = engine_settings(Seal(), TrainingSettings(zero_stage=2, precision="bf16", clip=0.3, lr=9.0))
    assert (settings.lr, settings.betas, settings.batch_size, settings.epochs) == (1e-5, (0.9, 0.95), 64, 3)
    assert (settings.zero_stage, settings.precision, settings.clip) == (2, "bf16", 0.3)
