"""Weights that don't fit their configuration are refused by their keys, before the start and when they are loaded."""

import json
import shutil
import sys

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

from raysafe.config.sections import Lora
from raysafe.errors import DataError
from raysafe.models.fit import ModelFacts, model_facts, tensor_shapes
from raysafe.models.loading import load_model
from raysafe.training.export import save_checkpoint

NORM, GATE = "model.norm.weight", "model.layers.0.mlp.gate_proj.weight"


@pytest.fixture
def folder(model_folder, tmp_path):
    return shutil.copytree(model_folder, tmp_path / "model")


def refused(folder, *says, loading=True):
    """By both lines of defence."""
    for look in [model_facts, *([load_model] if loading else [])]:
        with pytest.raises(DataError) as caught:
            look(str(folder))
        assert all(part in str(caught.value) for part in says), str(caught.value)


def rewrite(folder, change):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def configure(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def shard(folder):
    tensors, names = load_file(folder / "model.safetensors"), ("model-1.safetensors", "model-2.safetensors")
    (folder / "model.safetensors").unlink()
    places = {key: names[number % 2] for number, key in enumerate(sorted(tensors))}
    for name in names:
        save_file({key: tensors[key] for key, place in places.items() if place == name}, folder / name, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def test_a_sound_folder_tells_its_positions_its_vocabulary_and_its_layers(folder):
    facts = model_facts(str(folder))
    assert facts.positions == 256 and facts.vocabulary == len(tiny.byte_tokenizer(tiny.LLAMA3))
    assert facts.modules["model.layers.1.mlp.down_proj"] == (16, 32)
    assert facts.without_layer(["q_proj", "mlp.up_proj", "proj", "embed_tokens"]) == ["proj", "embed_tokens"]


def test_missing_weights_are_refused(folder):
    rewrite(folder, lambda tensors: tensors.pop(NORM))
    refused(folder, "its weights don't fit its config.json: 1 missing (model.norm.weight)")


def test_unexpected_weights_are_refused(folder):
    configure(folder, num_hidden_layers=1)
    refused(folder, "9 unexpected (model.layers.1.input_layernorm.weight, ", "…")


def test_misshapen_weights_are_refused_with_both_shapes(folder):
    configure(folder, intermediate_size=64)
    refused(folder, "6 misshapen (model.layers.0.mlp.down_proj.weight is (16, 32) where (16, 64) is needed")


def test_weights_of_other_names_are_refused(folder):
    rewrite(folder, lambda tensors: [tensors.update({f"foo.{key}": tensors.pop(key)}) for key in list(tensors)])
    refused(folder, "21 missing", "21 unexpected")


def test_tied_weights_need_not_be_there_and_untied_ones_must(folder):
    rewrite(folder, lambda tensors: tensors.pop("lm_head.weight"))
    refused(folder, "1 missing (lm_head.weight)")
    configure(folder, tie_word_embeddings=True)
    assert model_facts(str(folder)) and load_model(str(folder))


def test_a_base_model_without_its_prefix_and_what_it_computes_itself_are_fine(folder):
    rewrite(folder, lambda tensors: [tensors.update({key.removeprefix("model."): tensors.pop(key)}) for key in list(tensors)])
    rewrite(folder, lambda tensors: tensors.update({"layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}))
    assert model_facts(str(folder)) and load_model(str(folder))


def test_shards_are_read_as_one(folder):
    shard(folder)
    assert model_facts(str(folder)) and load_model(str(folder))


def test_a_shard_that_is_not_there_is_refused(folder):
    shard(folder)
    (folder / "model-2.safetensors").unlink()
    refused(folder, "model-2.safetensors")


def test_weights_that_the_index_does_not_name_are_missing(folder):
    shard(folder)
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"] = {key: name for key, name in index["weight_map"].items() if name == "model-1.safetensors"}
    path.write_text(json.dumps(index))
    refused(folder, " missing (")


@pytest.mark.parametrize("content", [b"", b"x" * 1000, (10**9).to_bytes(8, "little") + b"{}", b"\x02\0\0\0\0\0\0\0[]"])
def test_a_file_that_is_no_safetensors_is_refused(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    refused(folder, "model.safetensors: no safetensors file, or a broken one", loading=False)
    with pytest.raises(DataError, match="can't be loaded"):
        load_model(str(folder))


@pytest.mark.parametrize("cut", [1, 1000])
def test_a_file_that_is_cut_off_is_refused(folder, cut):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-cut])
    refused(folder, "the file is cut off or broken", loading=False)
    with pytest.raises(DataError, match="can't be loaded"):
        load_model(str(folder))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"a":', "not readable as JSON"),
        ("[1]", "got a JSON list, but it takes an object"),
        ('{"a": 1}', "can't be loaded as a causal language model"),
        ('{"model_type": "no-such-thing"}', "can't be loaded as a causal language model"),
        ('{"model_type": "t5"}', "can't be loaded as a causal language model"),
    ],
)
def test_a_broken_configuration_is_refused(folder, content, says):
    (folder / "config.json").write_text(content)
    refused(folder, says)


@pytest.mark.parametrize("values", [{"hidden_size": "wide"}, {"hidden_size": -16}, {"num_attention_heads": 3}])
def test_a_configuration_that_describes_no_model_is_refused(folder, values):
    configure(folder, **values)
    refused(folder, "can't be loaded as a causal language model")


def test_code_of_a_folders_own_is_refused_without_a_question(folder, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    configure(folder, model_type="theirs", auto_map={"AutoConfig": "theirs.C", "AutoModelForCausalLM": "theirs.M"})
    refused(folder, "its config.json asks for code of its own (`auto_map`)", "never run")


def test_a_model_that_is_built_in_is_loaded_without_the_code_that_it_also_brings(folder):
    configure(folder, auto_map={"AutoModelForCausalLM": "theirs.M"})
    assert type(load_model(str(folder))) is LlamaForCausalLM and model_facts(str(folder))


def small(kind):
    if kind == "gpt2":  # fused and transposed layers, tied weights, buffers
        return GPT2LMHeadModel(GPT2Config(vocab_size=40, n_positions=32, n_embd=16, n_layer=1, n_head=2))
    sizes = {"hidden_size": 16, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"num_key_value_heads": 2}
    return MixtralForCausalLM(MixtralConfig(vocab_size=40, num_local_experts=2, **sizes))


@pytest.mark.parametrize("kind", ["gpt2", "mixtral"])
def test_families_whose_weights_are_renamed_or_fused_when_loaded_are_found_sound(tmp_path, kind):
    small(kind).save_pretrained(tmp_path)
    facts = model_facts(str(tmp_path))
    assert facts.vocabulary == 40
    assert facts.modules.get("transformer.h.0.attn.c_attn", (48, 16)) == (48, 16)


@pytest.mark.parametrize("kind", ["gpt2", "mixtral"])
def test_what_such_a_family_lacks_is_refused(tmp_path, kind):
    small(kind).save_pretrained(tmp_path)
    keys = load_file(tmp_path / "model.safetensors")
    lost = next(key for key in keys if ".0." in key and key.endswith(("c_attn.weight", "w1.weight")))
    rewrite(tmp_path, lambda tensors: tensors.pop(lost))
    refused(tmp_path, "its weights don't fit its config.json" if kind == "gpt2" else "`model.path`")


@pytest.fixture
def adapter(model_folder, tmp_path):
    model = load_model(str(model_folder), lora=Lora(r=2, target_modules=("q_proj", "v_proj")))
    save_checkpoint(model, tiny.byte_tokenizer(tiny.LLAMA3), tmp_path / "adapter")
    return tmp_path / "adapter"


def rewrite_adapter(folder, change):
    tensors = load_file(folder / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def test_an_adapters_facts_are_its_bases(adapter, model_folder):
    assert model_facts(str(adapter)) == model_facts(str(model_folder))


Q_A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.pop(Q_A),
        lambda tensors: [tensors.pop(key) for key in list(tensors) if "layers.1" in key],
        lambda tensors: tensors.update({Q_A: torch.zeros(2, 17)}),
        lambda tensors: tensors.update({Q_A: torch.zeros(3, 16)}),
        lambda tensors: tensors.update({Q_A.replace("layers.0", "layers.7"): torch.zeros(2, 16)}),
    ],
)
def test_adapters_that_do_not_fit_their_base_are_refused(adapter, change):
    rewrite_adapter(adapter, change)
    with pytest.raises(DataError, match="its adapters don't fit the model .*self_attn"):
        model_facts(str(adapter))


def test_an_adapter_that_lacks_a_layer_is_not_loaded(adapter):
    rewrite_adapter(adapter, lambda tensors: tensors.pop(Q_A))
    with pytest.raises(DataError, match="its adapters can't be put on"):
        load_model(str(adapter))


def test_shapes_are_read_from_the_header_alone(tmp_path):
    save_file({"a": torch.zeros(2, 3), "b": torch.zeros(())}, tmp_path / "x.safetensors")
    assert tensor_shapes(tmp_path / "x.safetensors") == {"a": (2, 3), "b": ()}


def test_of_a_hub_name_nothing_is_known():
    assert model_facts("hf://owner/name") is None


def test_a_target_is_the_end_of_a_layers_dotted_name():
    facts = ModelFacts(None, 1, {"model.layers.0.attn.qkv": (3, 1)})
    assert facts.without_layer(["qkv", "attn.qkv", "kv", "model.layers.0.attn.qkv"]) == ["kv"]
