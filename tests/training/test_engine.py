"""What DeepSpeed's engines do to parameters, stage by stage, in one process."""

import pytest
import tiny
import torch
from tolerances import worst
from transformers import AutoTokenizer

from raysafe.config.sections import TrainingSettings
from raysafe.models.generation import greedy
from raysafe.models.loading import freeze, load_model
from raysafe.training.engine import DeepSpeedEngine, PlainEngine, open_engine


def moved(make_engine, **settings):
    """How far the second layer's weights went in one step of lr 0.01 along a constant gradient."""
    engine = make_engine(tiny.llama, TrainingSettings(lr=1e-2, **settings), torch.device("cpu"))
    before = engine.full_state()["model.layers.1.mlp.up_proj.weight"]
    weight = engine.policy.model.model.layers[1].mlp.up_proj.weight
    engine.backward((weight * torch.ones_like(weight)).sum() if settings.get("zero_stage", 0) < 3 else whole_loss(engine))
    after = engine.full_state()["model.layers.1.mlp.up_proj.weight"]
    engine.close()
    return (after - before).abs()


def whole_loss(engine):
    """At stage 3 a weight is whole only within the forward pass."""
    return engine.module(tiny.token_rows(4), None, lambda log_probs_L: -log_probs_L.sum())[0]


def test_adams_first_step_is_the_learning_rate():
    """m / (1 - .9) over sqrt(v / (1 - .999)) is the gradient's sign, up to the eight or so roundings of the step, and those of a
    weight of up to 2 before and after it."""
    near = {"rtol": worst(8, torch.float32), "atol": 2 * worst(2, torch.float32)}
    torch.testing.assert_close(moved(PlainEngine), torch.full((32, 16), 1e-2), **near)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_no_stage_and_no_precision_has_made_a_step_before_the_first(stage, precision, one_process_group):
    """In bf16 the weights that come out are rounded, each to u of some .3: the mean of two roundings over 512 of them is right to
    6 sqrt(2 / 512) .3 u / sqrt(3) = 2.5e-4, .03 of the step. A step before would make it .74 of that: .06 tells them apart."""
    step = moved(DeepSpeedEngine, zero_stage=stage, precision=precision)
    assert step.mean().item() == pytest.approx(1e-2, rel=0.01 if precision == "float32" else 0.06)


ENGINES = {"plain": (PlainEngine, {})} | {f"zero {n}": (DeepSpeedEngine, {"zero_stage": n}) for n in range(4)}
ROWS = tiny.token_rows(4)


@pytest.fixture(params=ENGINES)
def make(request, one_process_group):
    """Builds one of the family's members around a fresh tiny model; all are closed in the end."""
    kind, settings = ENGINES[request.param]
    made = []

    def build(**change):
        made.append(kind(tiny.llama, TrainingSettings(**{"lr": 1e-2, **settings, **change}), torch.device("cpu")))
        return made[-1]

    yield build
    for engine in made:
        engine.close()


def learn(engine):
    loss, _ = engine.module(ROWS, None, lambda log_probs_L: -log_probs_L.mean())
    engine.backward(loss)
    return loss.item()


class TestEveryEngine:
    def test_learns(self, make):
        engine = make()
        losses = [learn(engine) for _ in range(4)]
        assert losses == sorted(losses, reverse=True) and losses[3] < 0.9 * losses[0]

    def test_knows_the_models_own_parameter_names_and_whole_shapes(self, make):
        expected = {name: p.shape for name, p in tiny.llama().named_parameters()}
        assert {name: value.shape for name, value in make().full_state().items()} == expected

    def test_steps_only_at_the_end_of_the_accumulation(self, make):
        engine = make(accumulation=2)
        before = engine.full_state()
        learn(engine)
        assert all(torch.equal(value, before[name]) for name, value in engine.full_state().items())
        learn(engine)
        assert any(not torch.equal(value, before[name]) for name, value in engine.full_state().items())

    def test_follows_the_rate_that_it_is_told(self, make):
        engine = make()
        before = engine.full_state()
        engine.set_lr(0.0)
        learn(engine)
        assert all(torch.equal(value, before[name]) for name, value in engine.full_state().items())

    def test_gives_back_what_it_was_told_to_keep(self, make, tmp_path):
        engine = make()
        learn(engine)
        engine.save_state(tmp_path, {"epoch": 3, "omega": torch.tensor([1.5])})
        kept, first = engine.full_state(), learn(engine)
        other = make()
        extra = other.load_state(tmp_path)
        assert extra["epoch"] == 3 and extra["omega"].item() == 1.5
        assert all(torch.equal(value, kept[name]) for name, value in other.full_state().items())
        assert learn(other) == first

    def test_notices_a_parameter_that_is_no_longer_finite(self, make):
        engine = make(clip=0.0)
        assert engine.finite()
        engine.set_lr(3e38)
        learn(engine)
        assert not engine.finite()

    def test_exports_what_it_has_learned(self, make, tmp_path):
        engine = make()
        learn(engine)
        engine.export(tmp_path, tiny.byte_tokenizer())
        exported = dict(load_model(str(tmp_path)).named_parameters())
        assert all(torch.equal(exported[name], value) for name, value in engine.full_state().items())
        assert AutoTokenizer.from_pretrained(tmp_path).chat_template == tiny.LLAMA3

    def test_generates_to_the_bit_as_its_export_does(self, make, tmp_path):
        engine = make()
        learn(engine)
        engine.export(tmp_path, tiny.byte_tokenizer())
        with engine.inference() as model:
            own, answers = logits(model), greedy(model, PROMPTS, 0, 1, 6)
        exported = freeze(load_model(str(tmp_path)))
        assert torch.equal(own, logits(exported)) and answers == greedy(exported, PROMPTS, 0, 1, 6)

    def test_learns_on_after_an_inference_as_if_there_had_been_none(self, make):
        engine, other = make(), make()
        learn(engine), learn(other)
        with engine.inference() as model:
            greedy(model, PROMPTS, 0, 1, 6)
        assert engine.policy.training and engine.policy.batching == "packed" and learn(engine) == learn(other)


PROMPTS = [row.input_ids for row in ROWS]


@torch.no_grad()
def logits(model):
    """Of two rows, padded on the left as for generation."""
    ids_BT = torch.tensor([[0, 5, 6, 7], [8, 9, 10, 11]])
    return model(input_ids=ids_BT, attention_mask=(ids_BT != 0).long()).logits


def test_a_bf16_policy_is_evaluated_in_float32_as_its_export_is(one_process_group, tmp_path):
    settings = TrainingSettings(lr=1e-2, precision="bf16")
    with open_engine(DeepSpeedEngine, tiny.llama, settings, torch.device("cpu")) as engine:
        learn(engine)
        engine.export(tmp_path, tiny.byte_tokenizer())
        with engine.inference() as model:
            assert torch.equal(logits(model), logits(freeze(load_model(str(tmp_path)))))


@pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt])
def test_an_engine_is_closed_however_its_block_ends(problem):
    closed = []

    class Watched(PlainEngine):
        def close(self):
            closed.append(self)

    with pytest.raises(problem), open_engine(Watched, tiny.llama, TrainingSettings(), torch.device("cpu")) as engine:
        raise problem
    assert closed == [engine]
