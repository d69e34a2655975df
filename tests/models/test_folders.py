"""Model folders as files: what identifies their content."""

import json
import os
import shutil

import pytest

from raysafe.errors import DataError
from raysafe.models import folders
from raysafe.models.folders import adapted_model, folder_fingerprint


@pytest.fixture
def folder(model_folder, tmp_path):
    return shutil.copytree(model_folder, tmp_path / "model")


@pytest.fixture
def remembered(monkeypatch, tmp_path):
    """Every file counts as large; digests are remembered in a folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(folders, "LARGE", 1)
    return tmp_path / "cache" / "raysafe" / "digests.json"


def aged(path, seconds=100):
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns - seconds * 10**9))


def test_a_copy_is_the_same_model_wherever_and_whenever_it_was_made(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "elsewhere" / "copy", copy_function=shutil.copyfile)
    assert folder_fingerprint(copy) == folder_fingerprint(folder)


def test_what_decides_no_result_is_no_part_of_it(folder):
    before = folder_fingerprint(folder)
    (folder / "README.md").write_text("Read me.")
    (folder / "manifest.json").write_text('{"seconds": 3}')
    (folder / ".git").mkdir()
    assert folder_fingerprint(folder) == before


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"])
def test_a_byte_of_what_decides_makes_another_model(folder, name):
    before, path = folder_fingerprint(folder), folder / name
    content, stat = bytearray(path.read_bytes()), path.stat()
    content[-3] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert folder_fingerprint(folder) != before


def test_a_path_in_its_files_is_no_part_of_it(folder):
    before, path = folder_fingerprint(folder), folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "_name_or_path": "/home/somebody"}))
    assert folder_fingerprint(folder) == before


def adapter(path, base):
    path.mkdir()
    (path / "adapter_config.json").write_text(json.dumps({"r": 2, "base_model_name_or_path": str(base)}))
    return path


def test_an_adapter_is_what_it_is_on_its_base_wherever_that_lies(folder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "moved")
    one, other = adapter(tmp_path / "one", folder), adapter(tmp_path / "other", moved)
    assert folder_fingerprint(one) == folder_fingerprint(other)
    (moved / "chat_template.jinja").write_text("another")
    assert folder_fingerprint(one) != folder_fingerprint(other)


def test_an_adapter_without_a_base_is_refused(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(DataError, match="`base_model_name_or_path` takes the model that it adapts"):
        adapted_model(tmp_path)


def test_large_files_are_read_once(folder, remembered, monkeypatch):
    for path in folder.iterdir():
        aged(path)
    first = folder_fingerprint(folder)
    monkeypatch.setattr(folders.hashlib, "file_digest", None)  # a second look would fail
    assert folder_fingerprint(folder) == first and str(folder / "model.safetensors") in json.loads(remembered.read_text())


def test_a_large_file_that_changed_is_read_again(folder, remembered):
    for path in folder.iterdir():
        aged(path)
    first, weights = folder_fingerprint(folder), folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    aged(weights, 50)
    assert folder_fingerprint(folder) != first


def test_what_was_written_just_now_is_not_remembered(folder, remembered):
    """A second change within the clock's tick would look the same."""
    os.utime(folder / "model.safetensors")
    folder_fingerprint(folder)
    assert not remembered.exists() or str(folder / "model.safetensors") not in json.loads(remembered.read_text())


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_broken_memory_costs_a_second_look_and_no_more(folder, remembered, content):
    before = folder_fingerprint(folder)
    remembered.parent.mkdir(parents=True, exist_ok=True)
    remembered.write_text(content)
    assert folder_fingerprint(folder) == before


def test_a_memory_that_cannot_be_kept_changes_nothing(folder, remembered, tmp_path):
    for path in folder.iterdir():
        aged(path)
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert folder_fingerprint(folder) == folder_fingerprint(folder)
