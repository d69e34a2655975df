"""Models that are made into folders first, as a trial names them."""

from pathlib import Path

import pytest
import tiny
from gguf_files import write_gguf
from small import small_trial

from raysafe.artifacts import MemoryStore, Store
from raysafe.config.sweeps import make_sweep
from raysafe.data.references import ModelRef
from raysafe.errors import DataError
from raysafe.models.fetched import UNTOUCHED, untouched
from raysafe.stages.inputs import find_inputs, model_ref
from raysafe.sweep.described import model_name
from raysafe.trial import run_trial


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    tokenizer = tiny.byte_tokenizer(tiny.LLAMA3)
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", tiny.llama(len(tokenizer)), tokenizer)


def trial(path, **sections):
    (plan,) = make_sweep(small_trial(path, **sections)).trials
    return plan.config


def test_a_trial_starts_from_a_gguf_file_as_from_a_folder(gguf, tmp_path):
    store = Store(tmp_path / "runs")
    result = run_trial(trial(gguf), store, tmp_path / "trial")
    folder = untouched(str(gguf), store, pytest.fail)
    assert result.checkpoint.manifest()["inputs"]["model"]["folder"] == folder
    assert find_inputs(trial(gguf), store, pytest.fail).model == model_ref(folder)


def test_its_key_is_that_of_its_content_wherever_it_was_made(gguf, tmp_path):
    keys = {find_inputs(trial(gguf), store, lambda text: None).model.key for store in (Store(tmp_path), MemoryStore())}
    assert len(keys) == 1


def test_the_model_that_ranks_may_be_one_too(gguf, model_folder, tmp_path):
    told, store = [], Store(tmp_path)
    given = {"selection": {"model": {"path": str(gguf)}}}
    inputs = find_inputs(trial(model_folder, selector="loss", **given), store, told.append)
    assert Path(inputs.ranker.folder).parent.name == UNTOUCHED and inputs.model.folder == str(model_folder)
    assert told and "tiny.gguf" in told[0]


@pytest.mark.parametrize("key", ["model", "selection.model"])
def test_what_is_wrong_with_it_is_told_with_its_key(model_folder, tmp_path, key):
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF and no more")
    given = {"selection": {"model": {"path": str(path)}}, "selector": "loss"} if key != "model" else {}
    with pytest.raises(DataError, match=f"`{key}.path`: .*broken.gguf: can't be converted"):
        find_inputs(trial(path if key == "model" else model_folder, **given), Store(tmp_path), lambda text: None)


def test_people_know_it_by_what_it_was_made_from(gguf, tmp_path):
    folder = untouched(str(gguf), Store(tmp_path), lambda text: None)
    assert model_name(vars(ModelRef("x", folder))) == "tiny.gguf"
    assert model_name(vars(ModelRef("x", str(tmp_path / "artifacts" / UNTOUCHED / "gone")))) == "gone"
