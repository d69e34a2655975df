"""Content-addressed results of stages: key, write aside, rename, verify; one maker at a time.

`STORAGE/artifacts/KIND/KEY/` holds a stage's files and `manifest.json`; the manifest is written last and the folder renamed
into place whole, so that a folder with a manifest is complete. Its inputs decide the key: equal inputs, equal folder.
"""

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Protocol, TypeVar
from weakref import finalize

from filelock import FileLock

T = TypeVar("T")

FORMAT = 4
"""Part of every key: raise it when what a stage computes from the same inputs changes."""
MANIFEST = "manifest.json"
OFF_KEY: dict[str, bool] = {"off_key": True}
"""Metadata of a dataclass field that says where something lies, not what it is."""
KEYED_IF_SET: dict[str, bool] = {"keyed_if_set": True}
"""Metadata of a field that came later: it is in a key only where it isn't its default, so that what was made before is found."""
_PACKAGES = ("raysafe", "torch", "transformers", "deepspeed", "ray", "peft")


def plain(value: Any, for_key: bool = False) -> Any:
    """Dataclasses (with the `name` of named ones), paths and tuples as JSON values.

    `for_key` leaves out fields with the metadata `OFF_KEY`: where something lies is no part of what it is; and those with
    `KEYED_IF_SET` that are as they are by themselves.
    """
    if is_dataclass(value) and not isinstance(value, type):
        name = getattr(type(value), "name", None)
        named = {"name": name} if isinstance(name, str) else {}
        kept = [item for item in fields(value) if not (for_key and _is_off_key(item, getattr(value, item.name)))]
        return named | {item.name: plain(getattr(value, item.name), for_key) for item in kept}
    if isinstance(value, Mapping):
        return {str(key): plain(item, for_key) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, for_key) for item in value]
    return str(value) if isinstance(value, Path) else value


def with_own(value: T, **own: Any) -> T:
    """A copy of a frozen dataclass with fields of its own (`init=False`): what it has found out, for its key or to work with."""
    made = copy(value)
    for name, found in own.items():
        object.__setattr__(made, name, found)
    return made


def _is_off_key(item: Field[Any], value: Any) -> bool:
    default = item.default if item.default_factory is MISSING else item.default_factory()
    return bool(item.metadata.get("off_key") or (item.metadata.get("keyed_if_set") and value == default))


def fingerprint(value: Any) -> str:
    """16 hex digits of SHA-256 over the canonical JSON of `plain(value)`, without fields that are off the key."""
    text = json.dumps(plain(value, for_key=True), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place to write a file or a folder to. It takes the name `path` when the block ends, in one step, over what had it before;
    if the block fails it is removed. So nobody ever reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{os.getpid()}-{threading.get_ident()}.{path.name}")  # its ending stays: some writers go by it
    try:
        yield aside
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        aside.replace(path)
    finally:
        if aside.is_dir():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""
    with whole(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """`write_text` of one JSON object a line."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_json(path: Path, value: Any) -> None:
    """`write_text` of indented JSON."""
    write_text(path, json.dumps(plain(value), indent=1, sort_keys=True) + "\n")


@dataclass(frozen=True)
class Artifact:
    """A finished result of a stage."""

    kind: str
    key: str
    folder: Path

    @property
    def id(self) -> str:
        """KIND-KEY: what desk and record call it."""
        return f"{self.kind}-{self.key}"

    def manifest(self) -> dict[str, Any]:
        """inputs, versions, seconds, and the stage's own `result`."""
        manifest: dict[str, Any] = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
        return manifest

    @property
    def result(self) -> dict[str, Any]:
        """What the stage said of itself."""
        result: dict[str, Any] = self.manifest()["result"]
        return result


class Artifacts(Protocol):
    """A store of artifacts: `Store` keeps them under a folder, `MemoryStore` for as long as it lives."""

    def artifact(self, kind: str, key: str) -> Artifact:
        """Where the result of a kind and key is or will be."""
        ...

    def by_id(self, id: str) -> Artifact:
        """The artifact of an `Artifact.id`."""
        ...

    def ready(self, kind: str, key: str) -> bool:
        """Whether it is there, whole."""
        ...

    def all_of(self, kind: str) -> list[Artifact]:
        """Everything of a kind that is there."""
        ...

    def workspace(self, kind: str, key: str) -> Path:
        """The folder in which an unfinished stage keeps what a second attempt can go on from."""
        ...

    def making(self, kind: str, key: str, inputs: Any) -> AbstractContextManager[tuple[Path, dict[str, Any]] | None]:
        """Be its only maker; gives an empty folder to write into and a `result` to fill, or None if it is there already.

        On a clean exit it is there, with its manifest; on an exception nothing is, and the exception goes on.
        """
        ...


class Store:
    """The artifacts under one storage folder, which many processes may share."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).absolute() / "artifacts"

    def artifact(self, kind: str, key: str) -> Artifact:
        """Where the result of a kind and key is or will be."""
        return Artifact(kind, key, self.root / kind / key)

    def by_id(self, id: str) -> Artifact:
        """The artifact of an `Artifact.id`."""
        kind, _, key = id.rpartition("-")
        return self.artifact(kind, key)

    def ready(self, kind: str, key: str) -> bool:
        """Whether it is there, whole."""
        return (self.artifact(kind, key).folder / MANIFEST).is_file()

    def all_of(self, kind: str) -> list[Artifact]:
        """Everything of a kind that is there."""
        return [self.artifact(kind, path.parent.name) for path in sorted((self.root / kind).glob(f"[!.]*/{MANIFEST}"))]

    def workspace(self, kind: str, key: str) -> Path:
        """The folder in which an unfinished stage keeps what a second attempt can go on from."""
        return self.root / kind / f".{key}.partial"

    @contextmanager
    def making(self, kind: str, key: str, inputs: Any) -> Iterator[tuple[Path, dict[str, Any]] | None]:
        """Hold the maker's lock; gives an empty folder to write into and a `result` to fill, or None if it is there already.

        On a clean exit the folder gets its manifest and its final name; on an exception it is removed.
        """
        artifact = self.artifact(kind, key)
        artifact.folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(str(artifact.folder.parent / f".{key}.lock")):
            if self.ready(kind, key):
                yield None
                return
            aside = artifact.folder.parent / f".{key}.making"
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            result: dict[str, Any] = {}
            started = time.time()
            try:
                yield aside, result
                write_json(aside / MANIFEST, _manifest(kind, key, inputs, result, started))
                shutil.rmtree(artifact.folder, ignore_errors=True)  # what has no manifest is no result
                aside.rename(artifact.folder)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
            shutil.rmtree(self.workspace(kind, key), ignore_errors=True)


class MemoryStore:
    """The store's twin for tests: what is there is known to this object alone, and the files go with it."""

    def __init__(self) -> None:
        self._folder = Path(mkdtemp(prefix="raysafe-"))
        finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._made: set[tuple[str, str]] = set()
        self._makers: dict[tuple[str, str], threading.Lock] = {}

    def artifact(self, kind: str, key: str) -> Artifact:
        """Where the result of a kind and key is or will be."""
        return Artifact(kind, key, self._folder / kind / key)

    def by_id(self, id: str) -> Artifact:
        """The artifact of an `Artifact.id`."""
        kind, _, key = id.rpartition("-")
        return self.artifact(kind, key)

    def ready(self, kind: str, key: str) -> bool:
        """Whether it is there, whole."""
        return (kind, key) in self._made

    def all_of(self, kind: str) -> list[Artifact]:
        """Everything of a kind that is there."""
        return [self.artifact(*made) for made in sorted(self._made) if made[0] == kind]

    def workspace(self, kind: str, key: str) -> Path:
        """The folder in which an unfinished stage keeps what a second attempt can go on from."""
        return self._folder / "workspaces" / f"{kind}-{key}"

    @contextmanager
    def making(self, kind: str, key: str, inputs: Any) -> Iterator[tuple[Path, dict[str, Any]] | None]:
        """Be its only maker, among threads."""
        with self._makers.setdefault((kind, key), threading.Lock()):
            if self.ready(kind, key):
                yield None
                return
            folder, result, started = self.artifact(kind, key).folder, {}, time.time()  # type: ignore[var-annotated]
            folder.mkdir(parents=True)
            try:
                yield folder, result
            except BaseException:
                shutil.rmtree(folder)
                raise
            write_json(folder / MANIFEST, _manifest(kind, key, inputs, result, started))
            shutil.rmtree(self.workspace(kind, key), ignore_errors=True)
            self._made.add((kind, key))


@cache
def _versions() -> dict[str, str]:
    """Of the packages that results depend on, read once: their metadata take longer to read than a small stage to run."""
    return {name: version(name) for name in _PACKAGES}


def _manifest(kind: str, key: str, inputs: Any, result: dict[str, Any], started: float) -> dict[str, Any]:
    return {
        "kind": kind,
        "key": key,
        "format": FORMAT,
        "inputs": inputs,
        "result": result,
        "versions": _versions(),
        "seconds": round(time.time() - started, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
