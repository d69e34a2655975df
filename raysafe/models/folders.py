"""Hugging Face model folders as files: whether one is complete, and what identifies its content, wherever it lies."""

import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from raysafe.artifacts import fingerprint, write_json
from raysafe.config.packages import PACKAGES
from raysafe.errors import DataError

HUB = "hf://"
ADAPTER = "adapter_config.json"
DECIDING = (
    "*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json", ADAPTER, "tokenizer*", "vocab*",
    "merges*", "special_tokens_map.json", "added_tokens.json", "*.model", "*.tiktoken", "tekken.json", "chat_template*",
)  # fmt: skip
"""Files that decide what a model says; not its README, licence or training logs."""
_PATHS = ("_name_or_path", "name_or_path", "base_model_name_or_path")
"""Keys of a folder's JSON files that say where something lies."""
_NAMING = ("config.json", "tokenizer_config.json", ADAPTER)
LARGE = 1 << 24
"""Bytes from which on a file's digest is remembered, so that many GB of weights are read once."""


TAKEN = f"`sandbox`, {', '.join(f'`{name}`' for name in PACKAGES)}, a Hugging Face model folder, a .gguf file, or hf://owner/name"
"""What a model's path may be."""


def check_model_folder(path: str, key: str = "model.path") -> None:
    """Raise DataError unless `path` is a model or adapter folder with safetensors (hub names can't be checked ahead)."""
    if path.startswith(HUB):
        return
    folder = Path(path)
    if not folder.is_dir():
        raise DataError(f"`{key}`: {path}: no such folder. It takes {TAKEN}.")
    if not (folder / "config.json").exists() and not (folder / ADAPTER).exists():
        raise DataError(f"`{key}`: {path}: holds no config.json, so it is no Hugging Face model folder.")
    if not any(folder.glob("*.safetensors")):
        raise DataError(f"`{key}`: {path}: holds no .safetensors weights; pickled weights are not loaded.")


def adapted_model(folder: Path) -> str | None:
    """The model that an adapter folder belongs to, as a folder or hub name; None for a whole model. Raises DataError."""
    if not (folder / ADAPTER).exists():
        return None
    base = read_object(folder / ADAPTER).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise DataError(f"{folder / ADAPTER}: `base_model_name_or_path` takes the model that it adapts, but got {base!r}.")
    return base


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises DataError naming it."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable as JSON ({error}).") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: got a JSON {type(value).__name__}, but it takes an object.")
    return value


def folder_fingerprint(folder: Path) -> str:
    """16 hex digits over the content of a model folder: equal for a copy, wherever it lies; an adapter's has its base's in it."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder.")
    paths = [path for path in sorted(folder.iterdir()) if path.is_file() and any(fnmatch(path.name, name) for name in DECIDING)]
    stamps = {path: _stamp(path) for path in paths}
    known = _known_digests() if any(stamp[0] >= LARGE for stamp in stamps.values()) else {}
    with ThreadPoolExecutor(4) as pool:
        digests = list(pool.map(lambda path: _digest(path, stamps[path], known), paths))
    _remember({str(path.resolve()): [*stamps[path], digest] for path, digest in zip(paths, digests, strict=True)}, known)
    parts: list[Any] = [[path.name, digest] for path, digest in zip(paths, digests, strict=True)]
    base = adapted_model(folder)
    if base is not None:
        parts.append(folder_fingerprint(Path(base)) if Path(base).is_dir() else base)
    return fingerprint(parts)


def file_digest(path: Path) -> str:
    """SHA-256 of one file, in hex; that of a large one is remembered."""
    stamp = _stamp(path)
    known = _known_digests() if stamp[0] >= LARGE else {}
    digest = _digest(path, stamp, known)
    _remember({str(path.resolve()): [*stamp, digest]}, known)
    return digest


def _stamp(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]


def _digest(path: Path, stamp: list[int], known: dict[str, list[Any]]) -> str:
    if path.name in _NAMING:
        return hashlib.sha256(_without_paths(path.read_bytes())).hexdigest()
    *before, digest = known.get(str(path.resolve()), [None])
    if before == stamp:
        return str(digest)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _without_paths(content: bytes) -> bytes:
    try:
        value = json.loads(content)
    except ValueError:
        return content
    if not isinstance(value, dict):
        return content
    return json.dumps({key: item for key, item in value.items() if key not in _PATHS}, sort_keys=True).encode()


def _digests_file() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "raysafe" / "digests.json"


def _known_digests() -> dict[str, list[Any]]:
    """Size, time, inode and SHA-256 of large files by path; a lost or broken file costs a second look at them, no more."""
    try:
        return read_object(_digests_file())
    except DataError:
        return {}


def _remember(made: dict[str, list[Any]], known: dict[str, list[Any]]) -> None:
    settled = time.time_ns() - 2_000_000_000  # a second change within the clock's tick would look the same
    new = {path: entry for path, entry in made.items() if entry[0] >= LARGE and entry[1] < settled and known.get(path) != entry}
    if new:
        with suppress(OSError):  # where nothing can be written, the digest is made again next time
            write_json(_digests_file(), {**{path: entry for path, entry in known.items() if Path(path).exists()}, **new})
