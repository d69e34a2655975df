"""Model folders in and out."""

import shutil

import pytest
import tiny
import torch

from raysafe.config.sections import Lora
from raysafe.errors import DataError
from raysafe.models.folders import check_model_folder
from raysafe.models.loading import freeze, load_model
from raysafe.training.export import plain_model, save_checkpoint, update

LORA = Lora(r=2, alpha=4, target_modules=("q_proj", "v_proj"))
IDS = torch.tensor([[5, 6, 7, 8]])


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def trainable(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


def both_refuse(path, match):
    with pytest.raises(DataError, match=match):
        check_model_folder(str(path))
    with pytest.raises(DataError):
        load_model(str(path))


def test_a_folder_is_loaded_as_it_was_saved(model_folder):
    model = load_model(str(model_folder))
    check_model_folder(str(model_folder))
    expected = tiny.llama(len(tiny.byte_tokenizer(tiny.LLAMA3)))
    assert torch.equal(logits(model), logits(expected)) and next(model.parameters()).dtype == torch.float32


def test_another_precision_can_be_asked_for(model_folder):
    assert next(load_model(str(model_folder), torch.bfloat16).parameters()).dtype == torch.bfloat16


def test_a_missing_folder_is_refused_with_what_it_takes(tmp_path):
    both_refuse(tmp_path / "none", "`model.path`.*no such folder.*hf://owner/name")


def test_a_folder_without_configuration_is_refused(tmp_path):
    both_refuse(tmp_path, "holds no config.json")


def test_pickled_weights_are_refused(model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "pickled")
    (folder / "model.safetensors").unlink()
    torch.save(tiny.llama().state_dict(), folder / "pytorch_model.bin")
    both_refuse(folder, "no .safetensors weights; pickled weights are not loaded")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")])
def test_a_machine_without_memory_is_no_fault_of_the_folder(model_folder, monkeypatch, error):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", fails)
    with pytest.raises(type(error)):
        load_model(str(model_folder))


def test_a_hub_name_is_not_looked_for_on_disk():
    check_model_folder("hf://owner/name")


def test_a_fresh_adapter_alone_is_trainable_and_changes_nothing_yet(model_folder):
    model = load_model(str(model_folder), lora=LORA)
    names = trainable(model)
    assert len(names) == 2 * 2 * 2 and all("lora_" in name for name in names)
    assert torch.equal(logits(model), logits(load_model(str(model_folder))))


def test_a_fresh_adapter_is_the_same_each_time_and_leaves_the_global_generator_alone(model_folder):
    """Equal inputs make an equal result, in every process: workers start from one adapter."""
    state = torch.get_rng_state()
    first = load_model(str(model_folder), lora=LORA).state_dict()
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(3)
    again = load_model(str(model_folder), lora=LORA).state_dict()
    torch.set_rng_state(state)
    assert all(torch.equal(value, again[name]) for name, value in first.items())


def test_an_adapters_wrong_target_is_refused(model_folder):
    with pytest.raises(DataError, match=r"`model.lora.target_modules`.*q_prj"):
        load_model(str(model_folder), lora=Lora(target_modules=("q_prj",)))


def trained_adapter(model_folder):
    model = load_model(str(model_folder), lora=LORA)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.add_(0.5)
    return model


def test_an_adapter_folder_survives_a_round_trip_on_its_base(model_folder, tmp_path):
    model = trained_adapter(model_folder)
    save_checkpoint(model, tiny.byte_tokenizer(tiny.LLAMA3), tmp_path / "adapter")
    check_model_folder(str(tmp_path / "adapter"))
    again = load_model(str(tmp_path / "adapter"))
    assert torch.equal(logits(again), logits(model)) and not torch.equal(logits(again), logits(load_model(str(model_folder))))
    assert trainable(again) == trainable(model)


def test_a_plain_copy_with_trained_parameters_is_the_trained_model_frozen(model_folder):
    model = trained_adapter(model_folder)
    state = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    copy = plain_model(lambda: load_model(str(model_folder), lora=LORA), state)
    assert torch.equal(logits(copy), logits(model)) and not copy.training
    assert not any(p.requires_grad for p in copy.parameters())


def test_an_adapters_start_depends_on_the_seed_alone(model_folder):
    def start(seed):
        torch.rand(3)
        named = load_model(str(model_folder), lora=LORA, seed=seed).named_parameters()
        return torch.cat([p.flatten() for name, p in named if "lora_A" in name])

    assert torch.equal(start(1), start(1)) and not torch.equal(start(1), start(2))


def test_an_unknown_trained_parameter_is_an_error(model_folder):
    with pytest.raises(KeyError, match="nonsense"):
        update(load_model(str(model_folder)), {"nonsense": torch.zeros(1)})


def test_a_frozen_model_has_no_gradient_and_no_dropout():
    model = freeze(tiny.llama().train())
    assert not model.training and not any(p.requires_grad for p in model.parameters())
