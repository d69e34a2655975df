"""What a training leaves behind in its process, however it ended: nothing."""

import gc

import pytest
import tiny
import torch

from raysafe.config.sections import TrainingSettings
from raysafe.context import local_context
from raysafe.errors import StageStopped
from raysafe.objectives.sft import Sft
from raysafe.training.engine import DeepSpeedEngine, PlainEngine, open_engine
from raysafe.training.loop import train
from raysafe.training.step import Run, TrainingData

ROWS = tiny.token_rows(6)


@pytest.fixture(autouse=True)
def what_was_there_before():
    """Is looked at by no collection and counts as nothing, which makes collecting quick."""
    gc.collect()
    gc.freeze()


def live_bytes():
    """Of all tensors made since that anything in this process still holds; what two of them share counts once."""
    gc.collect()
    found = [thing.untyped_storage() for thing in gc.get_objects() if type(thing) in (torch.Tensor, torch.nn.Parameter)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in found}.values())


class Breaks(ValueError):
    pass


def breaking(*_):
    raise Breaks


def load(ending):
    """A model whose second layer breaks in its forward or backward pass, if that is how the training is to end."""
    model = tiny.llama()
    if ending == "forward":
        model.model.layers[1].register_forward_pre_hook(breaking)
    if ending == "backward":
        model.model.layers[1].register_full_backward_hook(breaking)
    return model


def stage(kind, settings, ending, folder):
    """Train two epochs, with an inference after each, and export; or end on the way there."""
    report = {"stopped": lambda *_: True, "told": breaking}.get(ending, lambda *_: False)

    def after_epoch(engine, epoch):
        with engine.inference() as model:
            model(input_ids=torch.tensor([[3, 4]]))
        return {}

    with open_engine(kind, lambda: load(ending), settings, torch.device("cpu")) as engine:
        train(engine, Run(Sft(), TrainingData({"retain": ROWS}, {}), settings), local_context(report), after_epoch)
        engine.export(folder, tiny.byte_tokenizer())


def run(kind, settings, ending, folder):
    """The error that the stage ended with, if any."""
    try:
        stage(kind, settings, ending, folder)
    except (StageStopped, Breaks) as error:
        return type(error)
    return None


ENDINGS = {"finished": None, "stopped": StageStopped, "told": Breaks, "forward": Breaks, "backward": Breaks}


@pytest.mark.filterwarnings("default")  # DeepSpeed imports what torch deprecates
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("zero", [None, 0, 1, 2, 3], ids=["plain", "zero 0", "zero 1", "zero 2", "zero 3"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_no_tensor_of_a_training_outlives_it(precision, zero, ending, one_process_group, tmp_path):
    """A stage that isn't let go of leaves 14 to 20 bytes a parameter."""
    kind = PlainEngine if zero is None else DeepSpeedEngine
    settings = TrainingSettings(zero_stage=zero or 0, precision=precision, batch_size=3, epochs=2, lr=1e-3)
    for _ in range(2):
        assert run(kind, settings, ending, tmp_path) is ENDINGS[ending]
        assert live_bytes() == 0


@pytest.mark.filterwarnings("default")
def test_an_engine_that_cannot_be_built_leaves_nothing_either(one_process_group, monkeypatch):
    from deepspeed.runtime.zero.stage3 import DeepSpeedZeroOptimizer_Stage3

    monkeypatch.setattr(DeepSpeedZeroOptimizer_Stage3, "create_reduce_and_remove_grad_hooks", breaking)
    with pytest.raises(Breaks) as caught:
        DeepSpeedEngine(tiny.llama, TrainingSettings(zero_stage=3), torch.device("cpu"))
    del caught
    assert live_bytes() == 0
