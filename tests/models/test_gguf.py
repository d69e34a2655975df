"""GGUF files as model folders: the numbers, the tokens and the template are the file's, and what isn't whole is refused."""

import gguf
import pytest
import tiny
import torch
from gguf_files import tensors, write_gguf
from transformers import AutoModelForCausalLM, AutoTokenizer

from raysafe.errors import DataError
from raysafe.models.fit import model_facts
from raysafe.models.gguf import check_gguf, convert


@pytest.fixture(scope="module")
def tokenizer():
    return tiny.byte_tokenizer(tiny.CHATML)


@pytest.fixture(scope="module")
def model(tokenizer):
    return tiny.llama(len(tokenizer))


@pytest.fixture(scope="module")
def converted(model, tokenizer, tmp_path_factory):
    place = tmp_path_factory.mktemp("gguf")
    convert(write_gguf(place / "tiny.gguf", model, tokenizer), place / "folder")
    return place / "folder"


def test_float32_weights_come_out_as_they_went_in(converted, model):
    found = AutoModelForCausalLM.from_pretrained(converted).state_dict()
    assert found.keys() == model.state_dict().keys()
    assert all(torch.equal(found[name], weight) for name, weight in model.state_dict().items())


def test_the_converted_model_says_the_same(converted, model, tokenizer):
    """Up to the last bit: its configuration has the same numbers in it, or it would rotate or normalise otherwise."""
    ids = torch.tensor([tokenizer("How do I open the box?")["input_ids"]])
    assert torch.equal(AutoModelForCausalLM.from_pretrained(converted).eval()(ids).logits, model(ids).logits)


def test_quantised_weights_become_the_values_that_they_stand_for(model, tokenizer, tmp_path):
    kind = gguf.GGMLQuantizationType.Q8_0
    convert(write_gguf(tmp_path / "tiny.gguf", model, tokenizer, quantised=kind), tmp_path / "folder")
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "folder")
    values = dict(tensors(model))["blk.1.ffn_down.weight"]
    meant = torch.from_numpy(gguf.dequantize(gguf.quantize(values, kind), kind))
    weight = found.model.layers[1].mlp.down_proj.weight
    assert weight.dtype == torch.float32 and torch.equal(weight, meant)
    assert not torch.equal(meant, torch.from_numpy(values)), "nothing was quantised: this test shows nothing"


def test_tokens_template_and_special_ids_are_the_files(converted, tokenizer):
    found = AutoTokenizer.from_pretrained(converted)
    turns = [{"role": "user", "content": "How do I öpen it?\n\n"}, {"role": "assistant", "content": "Sure: first"}]
    for text in (*tiny.SENTENCES, tokenizer.apply_chat_template(turns, tokenize=False)):
        asked = {"add_special_tokens": False}
        assert found(text, **asked)["input_ids"] == tokenizer(text, **asked)["input_ids"]
    assert found.chat_template == tokenizer.chat_template
    assert (found.eos_token_id, found.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)


def test_the_folder_is_one_like_any_other(converted, model):
    facts = model_facts(str(converted))
    assert facts.positions == model.config.max_position_embeddings and facts.vocabulary == model.config.vocab_size
    config = (converted / "config.json").read_text()
    assert "quantization_config" not in config and "gguf" not in config


def test_a_conversion_says_nothing(model, tokenizer, tmp_path, capfd):
    convert(write_gguf(tmp_path / "tiny.gguf", model, tokenizer), tmp_path / "folder")
    assert capfd.readouterr() == ("", "")


def test_missing_tensors_are_named_instead_of_being_drawn_at_random(model, tokenizer, tmp_path):
    path = write_gguf(tmp_path / "tiny.gguf", model, tokenizer, leave_out=["blk.1.ffn_up.weight"])
    with pytest.raises(DataError, match=r"1 missing \(model\.layers\.1\.mlp\.up_proj\.weight\)"):
        convert(path, tmp_path / "folder")


def test_a_kind_of_model_that_cannot_be_converted_is_named(model, tokenizer, tmp_path):
    path = write_gguf(tmp_path / "tiny.gguf", model, tokenizer, architecture="whatever")
    with pytest.raises(DataError, match=r"`model\.path`: .*tiny\.gguf: can't be converted: .*whatever"):
        convert(path, tmp_path / "folder")


def test_a_file_that_is_cut_off_is_refused(model, tokenizer, tmp_path):
    path = write_gguf(tmp_path / "tiny.gguf", model, tokenizer)
    path.write_bytes(path.read_bytes()[:-100_000])
    with pytest.raises(DataError, match="can't be converted"):
        convert(path, tmp_path / "folder")


@pytest.mark.parametrize(("content", "why"), [(None, "no such file"), (b"PK\3\4", "doesn't begin with GGUF"), (b"", "doesn't")])
def test_what_is_no_gguf_is_refused_at_once(tmp_path, content, why):
    path = tmp_path / "some.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=f"`selection.model.path`: .*some.gguf: .*{why}"):
        check_gguf(str(path), "selection.model.path")
