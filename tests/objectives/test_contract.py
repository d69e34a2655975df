"""What must hold of every member of OBJECTIVES."""

import ast
import inspect
from dataclasses import FrozenInstanceError, fields, is_dataclass

import pytest
import torch

from raysafe.objectives import OBJECTIVES, Objective, StreamLogProbs

B, T = 4, 6


@pytest.fixture(params=OBJECTIVES)
def objective(request):
    return OBJECTIVES[request.param]()


def needed(objective):
    return {"retain": (), **{stream: objective.frozen_models.get(stream, ()) for stream in objective.alignment}}


def random_streams(objective, seed=0, dtype=torch.float64, scale=3.0):
    """Log-probabilities of all declared streams and frozen models, and nothing else; ragged masks."""
    draw = torch.Generator().manual_seed(seed)

    def log_probs():
        return (-scale * torch.rand(B, T, generator=draw, dtype=torch.float64)).to(dtype)

    mask = (torch.arange(T) < torch.tensor([6, 3, 1, 4])[:, None]).to(torch.float32)
    return {
        stream: StreamLogProbs(log_probs().requires_grad_(), mask, {name: log_probs().requires_grad_() for name in frozen})
        for stream, frozen in needed(objective).items()
    }


def changed(streams, change):
    """`change` applied to the tensors of every stream, mask included."""
    return {
        name: StreamLogProbs(change(s.policy_BT), change(s.mask_BT), {model: change(v) for model, v in s.frozen.items()})
        for name, s in streams.items()
    }


def run(objective, streams):
    losses = objective(streams)
    sum(loss.sum() for loss in losses.values()).backward()
    return losses


def test_it_is_listed_under_its_own_name(objective):
    assert OBJECTIVES[objective.name] is type(objective) and isinstance(objective, Objective)


def test_it_is_a_frozen_dataclass(objective):
    assert is_dataclass(objective)
    with pytest.raises((FrozenInstanceError, AttributeError)):
        objective.alpha = 0.9


def test_every_field_has_a_docstring(objective):
    body = ast.parse(inspect.getsource(type(objective))).body[0].body
    documented = {
        one.target.id
        for one, after in zip(body, body[1:], strict=False)
        if isinstance(one, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    }
    assert {field.name for field in fields(objective)} <= documented


def test_the_declared_streams_suffice_and_give_one_loss_a_row(objective):
    losses = objective(random_streams(objective))
    assert set(losses) == ({"align", "retain"} if objective.alignment else {"retain"})
    assert all(loss.shape == (B,) for loss in losses.values())


def test_a_missing_stream_is_an_error_and_no_zero_loss(objective):
    for missing in needed(objective):
        streams = random_streams(objective)
        del streams[missing]
        with pytest.raises(KeyError, match=missing):
            objective(streams)


def test_a_missing_frozen_model_is_an_error(objective):
    for stream, models in needed(objective).items():
        for model in models:
            streams = random_streams(objective)
            frozen = {name: value for name, value in streams[stream].frozen.items() if name != model}
            streams[stream] = StreamLogProbs(streams[stream].policy_BT, streams[stream].mask_BT, frozen)
            with pytest.raises(KeyError, match=model):
                objective(streams)


def test_every_declared_frozen_model_matters(objective):
    for stream, models in needed(objective).items():
        for model in models:
            streams = random_streams(objective)
            before = objective(streams)["align"]
            with torch.no_grad():
                streams[stream].frozen[model][:, 0] -= 0.5
            assert (objective(streams)["align"] != before).all()


def test_gradient_reaches_every_label_of_every_stream_and_nothing_else(objective):
    streams = random_streams(objective)
    run(objective, streams)
    for stream in streams.values():
        assert ((stream.policy_BT.grad != 0) == (stream.mask_BT == 1)).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_more_padding_changes_nothing(objective, seed):
    streams = random_streams(objective, seed)
    padded = changed(streams, lambda t: torch.nn.functional.pad(t.detach(), (0, 3), value=0.0))
    for name, loss in objective(padded).items():
        torch.testing.assert_close(loss, objective(streams)[name], rtol=1e-14, atol=0)


def test_rows_are_independent_of_their_order(objective):
    order = torch.tensor([2, 0, 3, 1])
    streams = random_streams(objective)
    for name, loss in objective(changed(streams, lambda t: t[order])).items():
        torch.testing.assert_close(loss, objective(streams)[name][order], rtol=0, atol=0)


@pytest.mark.parametrize("poison", [float("-inf"), float("nan"), 1e30])
def test_what_stands_outside_the_mask_poisons_neither_value_nor_gradient(objective, poison):
    streams = random_streams(objective)
    clean = run(objective, streams)
    gradients = {name: stream.policy_BT.grad.clone() for name, stream in streams.items()}

    def poisoned(s):
        def put(t):
            return t.detach().masked_fill(s.mask_BT == 0, poison).requires_grad_()

        return StreamLogProbs(put(s.policy_BT), s.mask_BT, {model: put(v) for model, v in s.frozen.items()})

    dirty_streams = {name: poisoned(stream) for name, stream in streams.items()}
    dirty = run(objective, dirty_streams)
    for name, loss in clean.items():
        torch.testing.assert_close(dirty[name], loss, rtol=0, atol=0)
    for name, gradient in gradients.items():
        torch.testing.assert_close(dirty_streams[name].policy_BT.grad, gradient, rtol=0, atol=0)


@pytest.mark.parametrize("low", ["policy", "frozen", "both"])
def test_loss_and_gradient_are_finite_where_a_model_gives_no_chance(objective, low):
    """Log-probabilities of -1e4 a token saturate every margin. W-DOOR's own weights exp(r / tau) may be infinite without a
    cap, so here both of its frozen models say the same."""
    streams = {}
    for name, s in random_streams(objective, dtype=torch.float32).items():
        policy = torch.full_like(s.policy_BT, -1e4 if low != "frozen" else -0.1).requires_grad_()
        value = torch.full((B, T), -1e4 if low != "policy" else -0.1)
        streams[name] = StreamLogProbs(policy, s.mask_BT, dict.fromkeys(s.frozen, value))
    losses = run(objective, streams)
    assert all(loss.isfinite().all() for loss in losses.values())
    assert all(stream.policy_BT.grad.isfinite().all() for stream in streams.values())


def test_bfloat16_agrees_with_float32_within_its_precision(objective):
    exact = random_streams(objective, dtype=torch.float32)
    coarse = changed(exact, lambda t: t.detach().to(torch.bfloat16))
    for name, loss in objective(coarse).items():
        assert loss.isfinite().all()
        torch.testing.assert_close(loss.float(), objective(exact)[name].detach(), rtol=0.03, atol=0.15)


def test_no_gradient_goes_into_frozen_models(objective):
    """Their log-probabilities come without gradient; even if they do carry one, the formula must cut it."""
    streams = random_streams(objective)
    run(objective, streams)
    assert all(value.grad is None for stream in streams.values() for value in stream.frozen.values())
