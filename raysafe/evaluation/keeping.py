"""Answers that are kept batch by batch while others are still to come, so that an attempt that was ended goes on from them."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raysafe.artifacts import write_json
from raysafe.context import Context

FOLDER = "answered"
Ids = list[int]


def key_of(prompt: Sequence[int]) -> str:
    """What a prompt's answer is kept by: its token ids, what is put into the model's mouth included."""
    return hashlib.sha256(json.dumps(list(prompt)).encode()).hexdigest()[:32]


@dataclass
class Kept:
    """Answers by the key of their prompt. Each rank writes a file of its own, a line a batch, and reads those of all ranks, of
    earlier attempts with another number of workers, too. Without a folder nothing is written."""

    folder: Path | None
    known: dict[str, Ids] = field(default_factory=dict)

    @classmethod
    def of(cls, workspace: Path | None, context: Context) -> "Kept":
        """What an earlier attempt has left, the same on all ranks; every rank calls it."""
        if workspace is None:
            return cls(None)
        folder = workspace / FOLDER
        found = {key: answer for part in sorted(folder.glob("*.jsonl")) for key, answer in _read(part)}
        return cls(folder, {key: answer for part in context.gather(found) for key, answer in part.items()})

    def add(self, answers: Mapping[str, Ids]) -> None:
        """What all ranks have found; an answer that is known stays as it is."""
        self.known = {**answers, **self.known}

    def write(self, answers: Mapping[str, Ids], rank: int) -> None:
        """Keep a batch of this rank's."""
        if self.folder is None or not answers:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{rank}.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(f"\n{json.dumps(dict(answers))}\n")  # a line that was torn before ends here


def _read(path: Path) -> Iterator[tuple[str, Ids]]:
    """The answers of every whole line."""
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            answers = json.loads(line or "{}")
        except json.JSONDecodeError:
            continue  # torn when its writer was killed
        yield from answers.items()


class Parts:
    """What an attack has found part by part (a prompt, a step), as plain values by number; rank 0 keeps them for all, and every
    rank makes one. Without a workspace nothing is kept."""

    def __init__(self, workspace: Path | None, name: str, context: Context) -> None:
        self.folder = workspace / name if workspace is not None and context.rank == 0 else None
        files = self.folder.glob("[0-9]*.json") if self.folder is not None else ()
        found = {int(file.stem): json.loads(file.read_text(encoding="utf-8")) for file in files}
        self.known: dict[int, Any] = context.gather(found)[0]

    def keep(self, number: int, found: Any) -> None:
        """Leave a part for a second attempt."""
        if self.folder is not None:
            write_json(self.folder / f"{number}.json", found)
