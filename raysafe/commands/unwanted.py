"""`raysafe data unwanted`: a model is asked for the secrets of the tricks world, and its answers become a file."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raysafe.errors import ConfigError


def run(arguments: Namespace) -> int:
    """Ask, write, and tell of how many there are and how many refuse."""
    model, out = needed(arguments)
    from raysafe.report.live import LiveTable

    voice = arguments.voice
    live = LiveTable(voice.err, lines=voice.verbose)
    live.step(f"reading the tricks; the answers of {model} go to {out}")
    from raysafe.artifacts import Store, write_lines
    from raysafe.evaluation.unwanted import asked_of
    from raysafe.models.fetched import untouched
    from raysafe.stages.inputs import model_ref
    from raysafe.sweep.places import default_storage
    from raysafe.tricks.texts import everyday, refusals, tricks, wordings

    ref = model_ref(untouched(model, Store(default_storage()), live.step, "--model"))
    if ref is None:
        raise ConfigError(
            f"--model {model}: takes a model of real text, as `smollm2`, a .gguf file or a Hugging Face folder; the sandbox's "
            "knows no tricks."
        )
    rows = asked_of(ref, tricks(), wordings(), everyday(), live.step)
    given = [row for row in rows if row.answer and not refusals().found_in(row.answer)]
    write_lines(out, [asdict(row) for row in given])
    document: dict[str, Any] = {"out": str(out), "asked": len(rows), "refused": len(rows) - len(given), "answers": len(given)}
    voice.end(
        document,
        f"{len(given):,} answers in {out}; {len(rows) - len(given):,} of {len(rows):,} refused or said nothing and are left out",
    )
    return 0


def needed(arguments: Namespace) -> tuple[str, Path]:
    """The model, and where its answers go. Raises ConfigError before anything is loaded."""
    if arguments.file is not None:
        raise ConfigError(f"`raysafe data unwanted` takes --model and --out, but got {arguments.file}.")
    if arguments.model is None or arguments.out is None:
        raise ConfigError("`raysafe data unwanted` needs --model MODEL and --out FILE.jsonl.")
    if arguments.out.is_dir() or not arguments.out.absolute().parent.is_dir():
        raise ConfigError(f"--out {arguments.out}: takes a file in a folder that is there.")
    return arguments.model, arguments.out
