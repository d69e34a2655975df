"""`raysafe data check`: every dataset of a configuration, its bad rows, and evaluation prompts in what is trained on; and
`raysafe data unwanted` (its own file), which makes one."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from raysafe.commands import unwanted
from raysafe.commands.base import Command, begin_live, store_for_checks
from raysafe.errors import ConfigError
from raysafe.sweep.places import default_storage

if TYPE_CHECKING:
    from raysafe.config.trials import SweepConfig
    from raysafe.data.overlap import Overlap
    from raysafe.stages.inputs import TrialInputs

HOW = "any, half, all: prompts of which a piece, half of the pieces, or all of them stand in a single text of a row."


def arguments(parser: ArgumentParser) -> None:
    does = "check: read every dataset of a configuration; unwanted: record a model's answers to the tricks world's prompts"
    parser.add_argument("do", choices=["check", "unwanted"], metavar="check|unwanted", help=does)
    parser.add_argument("file", nargs="?", metavar="FILE.yaml", help="check: the configuration")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="as data.ngram=13")
    parser.add_argument("--model", metavar="MODEL", help="unwanted: a Hugging Face folder, or hf://owner/name")
    parser.add_argument("--out", type=Path, metavar="FILE.jsonl", help="unwanted: where its answers go")


def run(arguments: Namespace) -> int:
    return unwanted.run(arguments) if arguments.do == "unwanted" else check(arguments)


def check(arguments: Namespace) -> int:
    """Read, count, compare."""
    if arguments.file is None or arguments.model is not None or arguments.out is not None:
        raise ConfigError("`raysafe data check` takes FILE.yaml, and neither --model nor --out.")
    live, voice = begin_live(arguments), arguments.voice
    from raysafe.config.sweeps import load_sweep
    from raysafe.stages.inputs import find_inputs
    from raysafe.stages.overlaps import overlap_of_all

    config = load_sweep(arguments.file, arguments.overrides)
    if bad := bad_rows(config):
        for text in bad:
            voice.err.print(text, style="red", markup=False, highlight=False, soft_wrap=True)
        voice.end({"bad_rows": bad, "exit_code": 2}, f"{len(bad)} bad rows in {arguments.file}")
        return 2
    store, n = store_for_checks(config, default_storage()), config.trials[0].config.data.ngram
    live.step(f"reading the data of {len(config.trials)} trials")
    found = [(find_inputs(plan.config, store, live.step), plan.config.data.ngram) for plan in config.trials]
    sets = datasets([inputs for inputs, _ in found])
    live.step("comparing evaluation prompts with what is trained on")
    shared = overlap_of_all(found)
    voice.out.print(sets_table(sets))
    voice.out.print(overlap_table(shared, n))
    voice.out.print(HOW, style="dim", highlight=False)
    document = {"datasets": sets, "overlap": [asdict(line) for line in shared], "ngram": n, "bad_rows": []}
    some = sum(line.found > 0 for line in shared)
    voice.end(document, f"{len(sets)} datasets, no bad row; {some} pairs of them share pieces of {n} words")
    return 0


def bad_rows(config: SweepConfig) -> list[str]:
    """What is wrong with any row of the files that are named, each row once."""
    from raysafe.config.sections import SANDBOX
    from raysafe.data.loading import faults
    from raysafe.evaluation.roles import FILES

    named: dict[tuple[str, str], None] = {}
    for plan in config.trials:
        data, evaluation = plan.config.data, plan.config.evaluation
        paths = {"finetune": data.finetune, "safe": data.safe, "align": None if data.align_harmful else data.align}
        paths |= {role: getattr(evaluation, role) for role in FILES}
        named |= {(role, path): None for role, path in paths.items() if path not in (None, SANDBOX)}
    return list(dict.fromkeys(text for role, path in named for text in faults(path, role)))


def datasets(several: Sequence[TrialInputs]) -> list[dict[str, Any]]:
    """Role, file, rows and fingerprint of every dataset, once each."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for inputs in several:
        for role, ref in inputs.data().items():
            line = {"role": role, "path": ref.path, "rows": ref.rows, "fingerprint": ref.fingerprint}
            found.setdefault((role, ref.fingerprint), line)
    return list(found.values())


def sets_table(sets: Sequence[dict[str, Any]]) -> Table:
    """A line a dataset."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, title="datasets", title_justify="left")
    for name in ("role", "file", "rows", "fingerprint"):
        table.add_column(name, justify="right" if name == "rows" else "left", overflow="fold")
    for one in sets:
        table.add_row(one["role"], Path(one["path"]).name, f"{one['rows']:,}", one["fingerprint"])
    return table


def overlap_table(lines: Sequence[Overlap], n: int) -> Table:
    """A line a role of prompts and a dataset that is trained on."""
    title = f"evaluation prompts in training data, in pieces of {n} words"
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, title=title, title_justify="left")
    for name in ("prompts", "in", "asked", "any", "half", "all", "most", "where"):
        table.add_column(name, justify="right" if name in ("asked", "any", "half", "all", "most") else "left", overflow="fold")
    for line in lines:
        counts = map(str, (line.prompts, line.found, line.half, line.whole))
        where = f"{Path(line.prompt).name} in {Path(line.row).name}" if line.found else ""
        table.add_row(line.role, line.data, *counts, f"{line.most:.2f}", where)
    return table


COMMAND = Command("check the datasets of a configuration, or record a model's unwanted answers", arguments, run)
