"""What must hold of every member of OBJECTIVES, and of every variant of W-DOOR."""

import ast
import inspect
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace

import pytest
import torch
from objective_cases import CASES, LABELS, SHAPE, changed, gradients, needed, poisoned, random_streams, run
from tolerances import FORMULA, unit, worst

from raysafe.objectives import OBJECTIVES, Objective


@pytest.fixture(params=CASES)
def objective(request):
    return CASES[request.param]


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
    assert all(loss.shape == SHAPE[:1] for loss in losses.values())


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
            streams[stream] = replace(streams[stream], frozen=frozen)
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
        torch.testing.assert_close(loss, objective(streams)[name], rtol=FORMULA, atol=0)


def test_rows_are_independent_of_their_order(objective):
    order = torch.tensor([2, 0, 3, 1])
    streams = random_streams(objective)
    for name, loss in objective(changed(streams, lambda t: t[order], lambda t: t[order])).items():
        torch.testing.assert_close(loss, objective(streams)[name][order], rtol=FORMULA, atol=0)


@pytest.mark.parametrize("poison", [float("-inf"), float("nan"), 1e30])
def test_what_stands_outside_the_mask_poisons_neither_value_nor_gradient(objective, poison):
    streams = random_streams(objective)
    dirty_streams = poisoned(streams, poison)
    clean, dirty = run(objective, streams), run(objective, dirty_streams)
    for name, loss in clean.items():
        torch.testing.assert_close(dirty[name], loss, rtol=0, atol=0)
    for name, gradient in gradients(streams).items():
        torch.testing.assert_close(gradients(dirty_streams)[name], gradient, rtol=0, atol=0)


@pytest.mark.parametrize("low", ["policy", "frozen", "both", "neither"])
def test_loss_and_gradient_are_finite_where_a_model_gives_no_chance_or_is_certain(objective, low):
    """-1e4 a token saturates every margin; 0 is certainty. W-DOOR's weights exp(+-r / tau) may be infinite without a cap, so
    both of its frozen models say the same here."""
    streams = {}
    for name, s in random_streams(objective, dtype=torch.float32).items():
        policy = torch.full(SHAPE, 0.0 if low in ("frozen", "neither") else -1e4).requires_grad_()
        value = torch.full(SHAPE, 0.0 if low in ("policy", "neither") else -1e4)
        streams[name] = replace(s, policy_BT=policy, frozen=dict.fromkeys(s.frozen, value))
    losses = run(objective, streams)
    assert all(loss.isfinite().all() for loss in losses.values())
    assert all(gradient.isfinite().all() for gradient in gradients(streams).values())


def test_bfloat16_agrees_with_float32_within_its_precision(objective):
    """A margin adds up to 6 labels of up to 3 nats of two models, each right to u; a term's slope in it is at most 2."""
    exact = random_streams(objective, dtype=torch.float32)
    coarse = changed(exact, lambda t: t.detach().to(torch.bfloat16))
    for name, loss in objective(coarse).items():
        assert loss.isfinite().all()
        near = {"rtol": worst(8, torch.bfloat16), "atol": 2 * 36 * unit(torch.bfloat16)}
        torch.testing.assert_close(loss.float(), objective(exact)[name].detach(), **near)


def test_no_gradient_goes_into_frozen_models(objective):
    """Their log-probabilities come without gradient; even if they do carry one, the formula must cut it."""
    streams = random_streams(objective)
    run(objective, streams)
    assert all(value.grad is None for stream in streams.values() for value in stream.frozen.values())


def test_float32_agrees_with_float64_within_its_precision(objective):
    """As in bfloat16, and the formula's own roundings are in float32 now."""
    exact = random_streams(objective)
    single = changed(exact, lambda t: t.detach().float())
    for name, loss in objective(single).items():
        assert loss.dtype == torch.float32
        near = {"rtol": worst(90, torch.float32), "atol": 2 * 36 * unit(torch.float32)}
        torch.testing.assert_close(loss.double(), objective(exact)[name].detach(), **near)


def test_autograd_agrees_with_finite_differences(objective):
    streams = random_streams(objective)

    def losses(*policies):
        values = zip(streams.items(), policies, strict=True)
        return tuple(objective({name: replace(s, policy_BT=policy) for (name, s), policy in values}).values())

    assert torch.autograd.gradcheck(losses, [stream.policy_BT for stream in streams.values()])


def gradient_at(objective, streams, stream, value):
    """Gradient in `stream` where its policy log-probabilities are `value` (None: as they are)."""
    leaf = streams[stream].policy_BT.detach().clone()
    leaf = (leaf if value is None else torch.full_like(leaf, value)).requires_grad_()
    run(objective, {**streams, stream: replace(streams[stream], policy_BT=leaf)})
    return leaf.grad


def test_in_linear_streams_the_gradient_depends_on_no_policy_log_probability(objective):
    here = random_streams(objective, seed=0)
    elsewhere = {name: replace(s, policy_BT=5 * s.policy_BT.detach() - 1) for name, s in here.items()}
    for stream in objective.linear:
        for streams, value in [(here, 0.0), (elsewhere, None), (elsewhere, 0.0)]:
            gradient = gradient_at(objective, streams, stream, value)
            torch.testing.assert_close(gradient, gradient_at(objective, here, stream, None), rtol=0, atol=0)


def test_the_list_of_linear_streams_is_complete(objective):
    """In any other stream the gradient at every label of every row moves with the policy."""
    streams = random_streams(objective)
    assert set(objective.linear) <= set(needed(objective))
    for stream in set(needed(objective)) - set(objective.linear):
        moved = gradient_at(objective, streams, stream, None) != gradient_at(objective, streams, stream, 0.0)
        assert (moved == (streams[stream].mask_BT == 1)).all()


def test_rows_do_not_mix(objective):
    """A row's loss is the same whatever stands in the others; B is told where the formula counts rows."""
    streams = {name: replace(s, step_rows=len(LABELS)) for name, s in random_streams(objective).items()}
    alone = changed(streams, lambda t: t[1:2], lambda t: t[1:2])
    for name, loss in objective(alone).items():
        torch.testing.assert_close(loss, objective(streams)[name][1:2], rtol=FORMULA, atol=0)
