"""Packed and padded rows give one loss, one gradient: over model families, adapters, soft caps, windows and dtypes."""

import pytest
import tiny
import torch
from peft import LoraConfig, get_peft_model
from tolerances import BACKWARD, likely, network
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from raysafe.data.tokens import TokenRow
from raysafe.errors import StageError
from raysafe.models.head import CHUNK_LABELS, CheckpointedHead, LabelHead
from raysafe.models.policy import Policy

SIZES = {
    "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 48, "max_position_embeddings": 128, "pad_token_id": 0, "initializer_range": 0.3,
}  # fmt: skip
FAMILIES = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "mistral": {"sliding_window": 6},
    "gemma": {"head_dim": 8},
    "gemma2": {"head_dim": 8, "sliding_window": 6, "query_pre_attn_scalar": 8, "final_logit_softcapping": 3.0},
    "gemma3_text": {"head_dim": 8, "sliding_window": 6, "query_pre_attn_scalar": 8},
    "phi3": {},
    "gpt2": {"bos_token_id": 1, "eos_token_id": 1, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "olmo2": {},
}
PADDED = {"granite": {"logits_scaling": 3.0}, "bloom": {}}


def family(kind, **settings):
    config = CONFIG_MAPPING[kind](**{**SIZES, **FAMILIES.get(kind, {}), **PADDED.get(kind, {}), **settings})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def rows(vocabulary=50):
    """Two pairs that share a prompt, and rows of other lengths."""
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(2, vocabulary, (200,), generator=draw).tolist()
    answers = [(0, ids[60:66]), (1, ids[70:78]), (0, ids[63:70]), (1, ids[73:82])]
    pairs = [TokenRow(i, (*ids[i * 20 : i * 20 + 12], *answer), 12) for i, answer in answers]
    return [*pairs, TokenRow(5, tuple(ids[100:140]), 7), TokenRow(6, tuple(ids[150:153]), 1)]


ROWS = rows()
TERMS = BACKWARD * network(layers=2, width=32, inner=48, positions=40, vocabulary=50)
SINGLE, DOUBLE = likely(TERMS, torch.float32), likely(TERMS)
"""Of gradients, and so of all: 2e-5 in float32, 3e-14 in float64."""
NORMS = likely(60, torch.float32)
"""Of a float64 model with its norms and rotations in float32, ten roundings a layer, three times for the gradient."""
COUNT = sum(row.label_count for row in ROWS)
LINEAR = torch.arange(COUNT) % 3 != 0


def loss_of(log_probs_L):
    """Linear in two of three labels, curved in the others."""
    scale_L = torch.linspace(-1.0, 2.0, COUNT, dtype=log_probs_L.dtype)
    return (scale_L * log_probs_L)[LINEAR].sum() + (0.1 * log_probs_L[~LINEAR] ** 2).sum()


def outcome(model, batching, **settings):
    """Loss, log-probabilities, gradients by name."""
    policy = Policy(model, batching, **settings).train()
    loss, log_probs_L = policy(ROWS, LINEAR, loss_of)
    loss.backward()
    return loss.item(), log_probs_L, {name: p.grad for name, p in policy.model.named_parameters() if p.grad is not None}


def assert_equal_outcomes(one, other, tolerance):
    assert other[0] == pytest.approx(one[0], rel=tolerance)
    torch.testing.assert_close(other[1], one[1], rtol=tolerance, atol=tolerance)
    assert one[2].keys() == other[2].keys() and one[2]
    for name, gradient in one[2].items():
        torch.testing.assert_close(other[2][name], gradient, rtol=tolerance, atol=tolerance * gradient.abs().max(), msg=name)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", FAMILIES)
def test_packed_is_padded_to_rounding(kind, tied):
    """In float64, so that a wrong mask, position or cap can't hide in rounding; norms and rotations stay float32 in there. The
    eager attention of Gemma 2 is NaN on padded float64 rows, so it is compared in float32."""
    dtype, tolerance = (torch.float32, SINGLE) if kind == "gemma2" else (torch.float64, NORMS)
    models = [family(kind, tie_word_embeddings=tied).to(dtype) for _ in range(2)]
    assert_equal_outcomes(outcome(models[0], "padded"), outcome(models[1], "packed"), tolerance)


def test_float32_agrees_to_its_precision():
    assert_equal_outcomes(outcome(family("llama"), "padded"), outcome(family("llama"), "packed"), SINGLE)


def test_bfloat16_log_probabilities_come_in_float32_and_near():
    exact, coarse = outcome(family("llama"), "padded"), outcome(family("llama").bfloat16(), "packed")
    assert coarse[1].dtype == torch.float32
    near = likely(30, torch.bfloat16)  # of some fifteen results a layer; sums are in float32
    torch.testing.assert_close(coarse[1], exact[1], rtol=near, atol=near)


@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], ["q_proj", "lm_head"]])
def test_adapters_train_packed_too_on_the_head_as_well(targets):
    """With an adapter on the head its chunks are checkpointed; otherwise the plain head has no weight to train."""

    def adapted():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            model = get_peft_model(family("llama"), LoraConfig(r=2, target_modules=targets, init_lora_weights=False))
            return model.double()

    assert_equal_outcomes(outcome(adapted(), "padded"), outcome(adapted(), "packed"), NORMS)
    expected = CheckpointedHead if "lm_head" in targets else LabelHead
    assert type(Policy(adapted()).head) is expected


def test_checkpointed_layers_give_the_same():
    straight, again = (outcome(tiny.exact(family("llama")), "packed", gradient_checkpointing=flag) for flag in (False, True))
    assert_equal_outcomes(straight, again, DOUBLE)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_the_size_of_a_chunk_changes_nothing(monkeypatch, size):
    whole = outcome(tiny.exact(family("llama")), "packed")
    monkeypatch.setitem(CHUNK_LABELS, "cpu", size)
    assert_equal_outcomes(whole, outcome(tiny.exact(family("llama")), "packed"), DOUBLE)


@pytest.mark.parametrize("kind", PADDED)
def test_a_model_that_would_compute_something_else_stays_padded(kind):
    """Granite scales its logits, BLOOM takes no such attention: `auto` notices, and computes as before."""
    policy = Policy(family(kind))
    assert policy.batching == "padded"
    expected = Policy(family(kind), "padded")(ROWS)[1]
    torch.testing.assert_close(policy(ROWS)[1], expected)


def test_packing_that_is_asked_for_and_impossible_is_an_error():
    with pytest.raises(StageError, match=r"`training.batching`: got packed, but GraniteForCausalLM"):
        Policy(family("granite"), "packed")


def test_auto_packs_what_can_be_packed_and_leaves_training_mode_alone():
    model = family("llama").train()
    assert Policy(model).batching == "packed" and model.training
    assert Policy(family("llama").eval()).batching == "packed"


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_a_model_may_go_from_one_policy_to_another(kind):
    model = family(kind).eval()
    first = Policy(model)(ROWS)[1]
    for batching in ("packed", "padded", "auto"):
        torch.testing.assert_close(Policy(model, batching)(ROWS)[1], first, rtol=SINGLE, atol=SINGLE)


def test_log_probabilities_alone_need_no_loss():
    policy = Policy(family("llama").eval())
    loss, log_probs_L = policy(ROWS)
    assert loss is None and not log_probs_L.requires_grad
    torch.testing.assert_close(log_probs_L, Policy(family("llama").eval(), "padded")(ROWS)[1], rtol=SINGLE, atol=SINGLE)


def test_the_loss_has_its_own_value_not_that_of_a_stand_in():
    loss, log_probs_L = Policy(family("llama"))(ROWS, LINEAR, loss_of)
    assert loss.item() == pytest.approx(loss_of(log_probs_L).item(), rel=likely(COUNT, torch.float32))


def test_no_tensor_as_large_as_a_batchs_logits_is_made(monkeypatch):
    """Vocabulary 53, hidden width 32, 60 labels and more: with chunks of 16 the largest tensor of 53 columns is 16 x 53, but for
    the transposed weight."""
    monkeypatch.setitem(CHUNK_LABELS, "cpu", 16)
    seen = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            seen.append(out.shape if isinstance(out, torch.Tensor) else ())
            return out

    policy = Policy(family("llama", vocab_size=53))
    with Watch():
        policy(ROWS, LINEAR, loss_of)[0].backward()
    assert max(shape[0] for shape in seen if len(shape) == 2 and shape[1] == 53 and shape[0] != 32) == 16


def test_a_row_never_sees_another():
    """Its log-probabilities in a crowd are those it has alone."""
    policy = Policy(family("mistral").double().eval())
    alone = torch.cat([policy([row])[1] for row in ROWS])
    torch.testing.assert_close(policy(ROWS)[1], alone, rtol=NORMS, atol=NORMS)


def test_tiny_models_of_the_tests_are_packed():
    assert Policy(tiny.llama()).batching == "packed"
