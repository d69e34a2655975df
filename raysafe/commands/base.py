"""What a command is, and what several of them share.

The files of commands import what they need inside `run`, so that `--help` and errors in the arguments come at once.
"""

from __future__ import annotations

import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from raysafe.sweep.places import default_storage

if TYPE_CHECKING:
    from raysafe.artifacts import Artifacts
    from raysafe.cluster.running import RunOptions
    from raysafe.config.trials import SweepConfig
    from raysafe.report.live import LiveTable


LOADING = "loading Ray, checking models and data"
"""What a command says before it imports the cluster's package."""


@dataclass(frozen=True)
class Command:
    """`arguments` adds what the command takes to its parser; `run` does it and returns the exit code."""

    help: str
    arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]


def config_arguments(parser: ArgumentParser) -> None:
    """What every command takes that reads a configuration."""
    parser.add_argument("file", metavar="FILE.yaml", help="the configuration")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="as training.epochs=2")
    parser.add_argument("--storage", type=Path, metavar="DIR", help="where results go (default: $RAYSAFE_STORAGE or runs)")
    parser.add_argument("--address", metavar="auto", help="a Ray cluster to join; without it Ray starts here")


def options(arguments: Namespace) -> RunOptions:
    """How to run, from parsed arguments."""
    from raysafe.cluster.running import RunOptions

    return RunOptions(
        storage=arguments.storage or default_storage(),
        tracking_uri=getattr(arguments, "tracking_uri", None),
        resume=getattr(arguments, "resume", False),
        address=arguments.address,
    )


def store_for_checks(config: SweepConfig, storage: Path) -> Artifacts:
    """Where a command that only checks keeps what it has to make for that: nowhere, but for a model that must be fetched or
    converted, which takes long: that stays in the storage."""
    from raysafe.artifacts import MemoryStore, Store
    from raysafe.models.fetched import is_made

    trials = [plan.config for plan in config.trials]
    models = [model for trial in trials for model in (trial.model, trial.selection.model) if model is not None]
    return Store(storage) if any(is_made(model.path) for model in models) else MemoryStore()


def program() -> str:
    """How this command was called, so that what it suggests can be pasted."""
    called = Path(sys.argv[0])
    if called.name != "raysafe" or shutil.which("raysafe") == str(called):
        return "raysafe"
    return str(called.relative_to(Path.cwd())) if called.is_relative_to(Path.cwd()) else str(called)


def single(arguments: Namespace) -> SweepConfig:
    """The file's configuration as one trial: its `sweep` section is left aside, the first of its seeds taken."""
    from raysafe.config.reading import parse_overrides, read_yaml
    from raysafe.config.seeds import first_of
    from raysafe.config.sweeps import make_sweep

    raw = read_yaml(Path(arguments.file))
    parse_overrides(raw, arguments.overrides)
    raw.pop("sweep", None)
    if "seeds" in raw:
        raw["seeds"] = first_of(raw["seeds"])
    return make_sweep(raw, arguments.file)


def name_of(config: SweepConfig) -> str:
    """What a single trial's folder is called."""
    from raysafe.artifacts import fingerprint

    return f"{config.name}-{fingerprint(config.trials[0].config)[:8]}"


def unsafe_text(share: float | None) -> str:
    """Behind a number of rows: how many of them are unsafe, where it is known."""
    return "" if share is None else f", {share:.1%} of them unsafe"


def teller(live: LiveTable) -> Callable[[tuple[str, int, dict[str, float]]], None]:
    """Says a line for every point that a stage reports."""

    def tell(point: tuple[str, int, dict[str, float]]) -> None:
        from raysafe.report.figures import FIGURES

        label, step, metrics = point
        rates = [f"eval/{figure.name}" for figure in FIGURES if figure.live]
        names = ("loss", "train/loss", "selector/safe_loss", "selector/auc", *rates)
        shown = "  ".join(f"{name.split('/')[-1]} {metrics[name]:.3f}" for name in names if name in metrics)
        epoch = f"epoch {metrics['epoch']:.0f}, " if "epoch" in metrics else ""
        live.step(f"{label:10s} {epoch}step {step:5d}  {shown}")

    return tell


def begin_live(arguments: Namespace) -> LiveTable:
    """The first word of a command that reads a configuration, before anything heavy is imported; what follows speaks there."""
    from raysafe.report.live import LiveTable

    voice = arguments.voice
    live = LiveTable(voice.err, lines=voice.verbose)
    live.step(f"reading {arguments.file}")
    return live
