"""The training loop on the in-memory engine: a random Llama of 5 thousand parameters, in float64."""

import copy
import math
from collections import Counter

import pytest
import tiny
import torch
from tolerances import FORMULA, TINY, adam_parameters, after_adam, likely, worst

from raysafe.config.sections import TrainingSettings
from raysafe.context import local_context
from raysafe.data.tokens import TokenRow
from raysafe.errors import NotFiniteError, StageStopped
from raysafe.objectives import OBJECTIVES, StreamLogProbs
from raysafe.objectives.door import Door
from raysafe.objectives.refusal import Refusal
from raysafe.objectives.sft import Sft
from raysafe.objectives.wdoor import WDoor
from raysafe.training.engine import PlainEngine
from raysafe.training.loop import plan_training_step, steps_per_epoch, train
from raysafe.training.schedule import lr_at
from raysafe.training.step import Run, StepPlan, TrainingData, not_finite, rows_where, train_step

BATCH = {"epochs": 2, "batch_size": 4, "lr": 1e-2}
STEPS = 4
LOSSES = 64 * likely(TINY)
"""A loss adds up to 20 log-probabilities of up to 8 nats, in places of both signs, less than 64 in all: 1e-12. Gradients have
norms below 32 and no element above 8."""


def data(objective, retain=7, align=5):
    """Rows of every stream that the objective reads, with log-probabilities of two other models as frozen ones."""
    rows = {"retain": tiny.token_rows(retain, seed=1)}
    rows |= {stream: tiny.token_rows(align, seed=2 + i) for i, stream in enumerate(objective.alignment)}
    models = {"reference": tiny.exact_llama(seed=5), "proxy": tiny.exact_llama(seed=6)}
    frozen = {
        stream: {name: tiny.log_probs(models[name], rows[stream]) for name in names}
        for stream, names in objective.frozen_models.items()
    }
    return TrainingData(rows, frozen, padded=8)


def run(objective, settings, state=None, after=lambda engine, epoch: {}, rows=None, report=None, model=None):
    """Reported rows and trained parameters."""
    told = []

    def keep(step, metrics):
        told.append({"step": step, **metrics})
        return report(metrics) if report else False

    engine = PlainEngine(lambda: model or tiny.exact_llama(), settings)
    train(engine, Run(objective, rows or data(objective), settings), local_context(keep), after, state)
    return told, engine.full_state()


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def losses(told):
    return [[row[key] for key in sorted(row) if key.endswith("loss")] for row in told]


def same(one, other, **tolerance):
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, msg=name, **tolerance)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_batch_and_accumulation_make_one_trajectory(name):
    """Batch 4 at once, and as 2 x 2 and 4 x 1 micro-batches; 7 rows leave a last step of 3 with a filler row."""
    objective = OBJECTIVES[name]()
    whole, trained = run(objective, TrainingSettings(**BATCH))
    near = {"rtol": 0, "atol": LOSSES + after_adam(STEPS, BATCH["lr"], 32, TINY, torch.float64)}
    for accumulation in (2, 4):
        parts, again = run(objective, TrainingSettings(**BATCH, accumulation=accumulation))
        torch.testing.assert_close(tensor(losses(parts)), tensor(losses(whole)), **near)
        same(trained, again, rtol=0, atol=adam_parameters(STEPS, BATCH["lr"], 8, TINY, torch.float64))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_loss_falls(name):
    objective = OBJECTIVES[name]()
    told, _ = run(objective, TrainingSettings(epochs=6, batch_size=4, lr=1e-2))
    assert told[-1]["train/loss"] < 0.8 * told[0]["train/loss"]


def test_the_first_loss_is_the_formulas():
    """One step of one row each: SFT's loss is -log pi(y|x) of the untrained model."""
    rows = TrainingData({"retain": tiny.token_rows(1)}, {})
    (value,) = tiny.log_probs(tiny.exact_llama(), rows.rows["retain"])
    told, _ = run(Sft(), TrainingSettings(epochs=1, batch_size=1), rows=rows)
    assert told[0]["train/loss"] == pytest.approx(-value.sum().item(), abs=LOSSES)


def test_the_total_weighs_alignment_by_alpha():
    (row, _), _ = run(Door(alpha=0.3), TrainingSettings(**BATCH))
    expected = 0.3 * row["train/align_loss"] + 0.7 * row["train/retain_loss"]
    assert row["train/loss"] == pytest.approx(expected, rel=FORMULA)


def test_an_epoch_reports_what_trackers_and_schedulers_need():
    told, _ = run(Door(), TrainingSettings(**BATCH), after=lambda engine, epoch: {"eval/x": epoch})
    assert [row["step"] for row in told] == [2, 4] and [row["epoch"] for row in told] == [1, 2]
    assert [row["eval/x"] for row in told] == [0, 1] and all(row["train/tokens_per_s"] > 0 for row in told)
    assert set(told[0]) >= {"train/loss", "train/align_loss", "train/retain_loss", "train/lr"}


def test_without_an_alignment_term_none_is_reported():
    told, _ = run(Sft(), TrainingSettings(**BATCH))
    assert "train/align_loss" not in told[0] and told[0]["train/loss"] == told[0]["train/retain_loss"]


def alone(objective, data, stream, place):
    """One row of a stream by itself: no padding, no batch."""
    row = data.rows[stream][place]
    (policy,) = tiny.log_probs(tiny.exact_llama(), [row])
    frozen = {name: values[place][None] for name, values in data.frozen.get(stream, {}).items()}
    lengths_B = torch.tensor([len(row.input_ids)])
    return StreamLogProbs(policy[None], torch.ones(1, len(policy)), frozen, padded=8, lengths_B=lengths_B)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_steps_loss_is_the_mean_of_its_rows_taken_one_by_one(name):
    """So every row meets its own label positions, its own partner and its own frozen values, whatever the batch."""
    objective, settings = OBJECTIVES[name](), TrainingSettings(batch_size=4, accumulation=2)
    rows, plan = data(objective), StepPlan(0, [6, 0, 3], [4, 1, 3, 2])
    engine = PlainEngine(tiny.exact_llama, settings)
    got, _ = train_step(engine, Run(objective, rows, settings), plan, local_context())
    streams = {"retain": plan.retain, **dict.fromkeys(objective.alignment, plan.align)}
    each = [
        objective({stream: alone(objective, rows, stream, places[turn % len(places)]) for stream, places in streams.items()})
        for turn in range(12)
    ]
    for key in each[0]:
        assert got[f"train/{key}_loss"] == pytest.approx(sum(one[key].item() for one in each) / 12, abs=LOSSES)


@pytest.mark.parametrize("objective", [Sft(), WDoor()], ids=lambda o: o.name)
def test_a_resumed_run_is_the_straight_run(objective, tmp_path):
    """Stopped during the third epoch, then started anew from the state folder."""
    settings = TrainingSettings(epochs=3, batch_size=4, lr=1e-2, warmup_steps=2, decay="cosine")
    straight, trained = run(objective, settings)

    def break_down(engine, epoch):
        if epoch == 2:
            raise RuntimeError("power cut")
        return {}

    with pytest.raises(RuntimeError, match="power cut"):
        run(objective, settings, tmp_path, break_down)
    resumed, again = run(objective, settings, tmp_path)
    assert [row["epoch"] for row in resumed] == [3] and losses(resumed) == losses(straight[2:])
    same(trained, again, rtol=0, atol=0)


def test_a_state_that_was_not_written_whole_is_not_used(tmp_path):
    settings = TrainingSettings(**BATCH)
    run(Sft(), settings, tmp_path)
    (tmp_path / "DONE").unlink()
    assert len(run(Sft(), settings, tmp_path)[0]) == 2


def test_a_stage_that_is_asked_to_stop_stops_after_the_epoch():
    seen = []
    with pytest.raises(StageStopped):
        run(Sft(), TrainingSettings(**BATCH), report=lambda metrics: seen.append(metrics) or True)
    assert len(seen) == 1


def test_a_loss_that_is_not_finite_stops_the_run_and_names_step_stream_and_row():
    """The harmful row at position 0 meets a NaN of the reference; its index in the file is what the error says."""
    broken = data(Door())
    broken.frozen["harmful"]["reference"][0].fill_(float("nan"))
    with pytest.raises(NotFiniteError, match=r"step \d: the loss is not finite because of .*`harmful` row 0 .*counted from 0"):
        run(Door(), TrainingSettings(**BATCH), rows=broken)


def test_a_broken_model_is_told_by_the_rows_of_every_stream():
    model = tiny.llama()
    with torch.no_grad():
        model.model.norm.weight.fill_(float("inf"))
    engine, settings = PlainEngine(lambda: model, TrainingSettings(batch_size=2)), TrainingSettings(batch_size=2)
    with pytest.raises(NotFiniteError, match=r"step 8: .*`retain` rows 1, 3 and `safe` rows 0, 2"):
        train_step(engine, Run(Refusal(), data(Refusal()), settings), StepPlan(7, [1, 3], [0, 2]), local_context())


def test_rows_to_blame_are_named_by_their_own_files():
    """SafeInstr's rows are of `data.safe`, though they stand in the retain stream."""
    rows = [TokenRow(3, (1, 2), 1, "d.jsonl"), TokenRow(3, (1, 2), 1, "safe.jsonl"), TokenRow(1, (1, 2), 1, "d.jsonl")]
    faults = {"retain": rows_where(rows, torch.tensor([True, True, True]))}
    said = str(not_finite(4, faults, local_context()))
    assert "step 5: the loss is not finite because of `retain` rows 1, 3 of d.jsonl and `retain` row 3 of safe.jsonl" in said


def test_nothing_is_trained_on_a_loss_that_is_not_finite():
    broken, settings = data(Door()), TrainingSettings(batch_size=2)
    broken.frozen["harmful"]["reference"][0].fill_(-float("inf"))
    engine = PlainEngine(tiny.llama, settings)
    before = engine.full_state()
    with pytest.raises(NotFiniteError):
        train_step(engine, Run(Door(), broken, settings), StepPlan(0, [0, 1], [0, 1]), local_context())
    same(before, engine.full_state(), rtol=0, atol=0)


def test_an_epoch_that_ends_in_infinite_parameters_keeps_nothing(tmp_path):
    """Finite losses, and a step too large for float32 to hold: the state of the epoch before is still there."""
    settings = TrainingSettings(epochs=1, batch_size=8, lr=3e38)
    with pytest.raises(NotFiniteError, match="epoch 1: parameters are no longer finite"):
        run(Sft(), settings, tmp_path, model=tiny.llama())
    assert not (tmp_path / "DONE").exists()


@pytest.mark.parametrize(("clip", "expected"), [(0.5, 0.5), (0.0, 40.0), (100.0, 40.0)])
def test_the_summed_gradient_is_clipped_once_a_step(clip, expected):
    """Two micro-batches of gradient norm 20 each; 0 turns clipping off. torch divides by the norm plus 1e-6."""
    engine = PlainEngine(tiny.llama, TrainingSettings(accumulation=2, clip=clip))
    weight, norms = engine.parameters[0], []

    def note(*_):
        norms.append(weight.grad.norm().item())

    engine.optimizer.register_step_pre_hook(note)
    for _ in range(2):
        engine.backward(20 * weight.flatten()[0])
    assert norms == [pytest.approx(expected, rel=1e-6 / 40 + worst(10, torch.float32))] and weight.grad is None


def test_training_leaves_frozen_parameters_alone():
    model = tiny.llama()
    for name, p in model.named_parameters():
        p.requires_grad_("q_proj" in name)
    before = copy.deepcopy(model.state_dict())
    engine = PlainEngine(lambda: model, TrainingSettings(**BATCH))
    train(engine, Run(Sft(), data(Sft()), TrainingSettings(**BATCH)), local_context(), lambda e, n: {})
    assert all("q_proj" in name for name in engine.full_state())
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == set(engine.full_state())


@pytest.mark.parametrize(("retain", "align"), [(7, 3), (3, 7), (8, 4), (1, 9)])
def test_an_epoch_covers_the_longer_stream_once_and_the_shorter_evenly(retain, align):
    training = Run(Door(), data(Door(), retain, align), TrainingSettings(**BATCH))
    steps = steps_per_epoch(training)
    assert steps == math.ceil(max(retain, align) / 4)
    seen = {"retain": Counter(), "align": Counter()}
    for epoch in range(3):
        for step in range(steps):
            plan = plan_training_step(training, epoch, step)
            seen["retain"].update(plan.retain)
            seen["align"].update(plan.align)
        for name, count in (("retain", retain), ("align", align)):
            times = [seen[name][place] for place in range(count)]
            assert sum(times) == seen[name].total() and max(times) - min(times) <= 1
            if count == max(retain, align):
                assert times == [epoch + 1] * count


def test_steps_differ_by_epoch_and_seed_but_not_by_accumulation():
    rows = data(Door())
    plain, split = TrainingSettings(**BATCH), TrainingSettings(**BATCH, accumulation=2)
    assert plan_training_step(Run(Door(), rows, plain), 1, 0) == plan_training_step(Run(Door(), rows, split), 1, 0)
    seeds = [Run(Door(), data(Door(), 9, 8), plain, seed) for seed in (0, 1)]
    plans = [plan_training_step(training, epoch, 0) for training in seeds for epoch in (0, 1)]
    assert len({str(plan.retain) for plan in plans}) == len({str(plan.align) for plan in plans}) == 4


EIGHTH = math.cos(math.pi / 4)
"""The cosine an eighth of the way round."""


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [1.0] * 6),
        ({"warmup_steps": 4}, [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]),
        ({"decay": "linear"}, [1.0, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        ({"decay": "linear", "warmup_steps": 2}, [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]),
        ({"decay": "cosine", "warmup_steps": 2}, [0.5, 1.0, 1.0, (1 + EIGHTH) / 2, 0.5, (1 - EIGHTH) / 2]),
    ],
)
def test_the_learning_rate_at_every_step(settings, expected):
    """Six steps; after a warm-up of two the decay runs over the other four, from 1 towards 0, which a seventh step would get."""
    schedule = TrainingSettings(lr=1.0, **settings)
    assert [lr_at(step, 6, schedule) for step in range(6)] == pytest.approx(expected)


def test_a_warm_up_longer_than_the_run_is_only_a_warm_up():
    assert lr_at(1, 2, TrainingSettings(lr=1.0, warmup_steps=10, decay="linear")) == 0.2


def test_the_engine_is_told_the_scheduled_rate():
    told, _ = run(Sft(), TrainingSettings(epochs=2, batch_size=4, lr=1e-2, decay="linear"))
    assert [row["train/lr"] for row in told] == pytest.approx([0.75e-2, 0.25e-2])
