"""Models that compute something else on packed rows are found out, wherever in their layers and beyond whatever window."""

import pytest
import torch
from test_policy import family

from raysafe.data.tokens import TokenRow
from raysafe.models import probe
from raysafe.models.policy import Policy

MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "shared_expert_intermediate_size": 24}
WINDOWED = {"use_sliding_window": True, "sliding_window": 40, "max_window_layers": 2, "decoder_sparse_step": 1}
LATE = {"num_hidden_layers": 4, "layer_types": ["full_attention"] * 3 + ["sliding_attention"], "use_sliding_window": True}
PACKED = {
    "mixtral": {"num_local_experts": 4},
    "qwen2_moe": MOE,
    "qwen3_moe": {**MOE, "head_dim": 8},
    "mistral": {"sliding_window": 40},
    "qwen2": {**LATE, "sliding_window": 40},
    "gemma3_text": {"head_dim": 8, "sliding_window": 4096, "query_pre_attn_scalar": 8, "num_hidden_layers": 8},
}
PADDED = {
    "qwen2_moe": {**MOE, **WINDOWED},
    "phimoe": {"sliding_window": 40, "num_local_experts": 4},
    "granite": {"logits_scaling": 3.0},
    "gpt_neo": {"num_layers": 2, "attention_types": [[["global", "local"], 1]], "window_size": 40},
    "mamba": {"state_size": 4},
    "doge": {"sliding_window": 40},
}


def long_rows():
    """Longer than every window here; two of them share what precedes their answers."""
    ids = torch.randint(2, 50, (240,), generator=torch.Generator().manual_seed(2)).tolist()
    return [TokenRow(0, tuple(ids[:79]), 60), TokenRow(1, (*ids[:60], *ids[100:119]), 60), TokenRow(2, tuple(ids[120:210]), 5)]


def model(kind, settings):
    made = family(kind, **settings).eval()
    torch.manual_seed(0)
    for parameter in made.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=2 * parameter.shape[-1] ** -0.5)
    return made


@pytest.mark.parametrize("kind", PACKED)
def test_what_can_be_packed_is_packed_and_right_beyond_its_window(kind):
    policy = Policy(model(kind, PACKED[kind]))
    assert policy.batching == "packed"
    expected = Policy(model(kind, PACKED[kind]), "padded")(long_rows())[1]
    torch.testing.assert_close(policy(long_rows())[1], expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("kind", PADDED)
def test_what_cannot_be_vouched_for_stays_padded(kind):
    assert Policy(model(kind, PADDED[kind])).batching == "padded"


def test_a_window_in_the_mask_alone_is_really_wrong_when_packed(monkeypatch):
    """What the probe guards against: Qwen2-MoE's rows of 79 tokens with a window of 40."""
    expected = Policy(model("qwen2_moe", PADDED["qwen2_moe"]), "padded")(long_rows())[1]
    monkeypatch.setattr(probe, "agrees", lambda *_: True)
    wrong = Policy(model("qwen2_moe", PADDED["qwen2_moe"]))(long_rows())[1]
    assert (wrong - expected).abs().max() > 0.1


def test_a_model_is_asked_once_a_configuration_and_never_changed(monkeypatch):
    built = []
    build = probe._Twin.build
    monkeypatch.setattr(probe._Twin, "build", lambda twin: built.append(twin.layers) or build(twin))
    probe._agrees.cache_clear()
    deep = {**PACKED["gemma3_text"], "num_hidden_layers": 14}
    models = [model("gemma3_text", deep) for _ in range(2)]
    before = [{name: p.clone() for name, p in one.named_parameters()} for one in models]
    assert [Policy(one).batching for one in models] == ["packed"] * 2
    assert built == [6]  # five sliding layers, then a full one
    assert all(torch.equal(p, old[name]) for one, old in zip(models, before, strict=True) for name, p in one.named_parameters())


def test_a_probe_draws_no_random_number_of_the_training():
    probe._agrees.cache_clear()
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    Policy(family("llama"))
    assert torch.rand(1) == expected
