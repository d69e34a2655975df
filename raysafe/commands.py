"""What each command does, given its parsed arguments; returns the exit code."""

import shutil
import sys
from argparse import Namespace
from pathlib import Path

from rich.console import Console

from raysafe.artifacts import fingerprint, write_json
from raysafe.checking import parse_overrides, read_yaml
from raysafe.cluster.sweep import RunOptions, default_storage, one_trial, run_sweep
from raysafe.config import SweepConfig, load_sweep, make_sweep
from raysafe.errors import ConfigError
from raysafe.evaluation.metrics import rates_of
from raysafe.inputs import model_ref
from raysafe.plan import dry_run
from raysafe.report.ranking_tables import print_diagnosis, print_rankings
from raysafe.report.rankings import read_rankings, write_rankings
from raysafe.report.scores import score_table
from raysafe.report.table import print_report
from raysafe.stages import EvaluateStage
from raysafe.tracking.mlflow import store_uri
from raysafe.tracking.ui import serve
from raysafe.trial import (
    base_model,
    diagnosis_of,
    evaluation_plan,
    rank_stage,
    ranking_model,
    reference_stage,
    run_trial,
)
from raysafe.trial import select as select_rows


def _options(arguments: Namespace) -> RunOptions:
    return RunOptions(
        storage=arguments.storage or default_storage(),
        tracking_uri=getattr(arguments, "tracking_uri", None),
        resume=getattr(arguments, "resume", False),
        address=arguments.address,
    )


def sweep(arguments: Namespace) -> int:
    """`raysafe sweep`."""
    config, options, console = load_sweep(arguments.file, arguments.overrides), _options(arguments), Console()
    if arguments.dry_run:
        dry_run(config, options.storage, console)
        return 0
    result = run_sweep(config, options)
    print_report(result.folder, console)
    print_rankings(read_rankings(result.folder), console)
    storage = f" --storage {options.storage}" if arguments.storage else ""
    tracking = f" --tracking-uri {options.tracking_uri}" if options.tracking_uri else storage
    console.print(f"\nresults   {result.folder}\ncompare   {program()} ui{tracking}", highlight=False, soft_wrap=True)
    if result.exit_code:
        console.print(f"[red]some trials failed:[/] see {result.folder}/trials/*/error.txt", soft_wrap=True)
    return result.exit_code


def program() -> str:
    """How this command was called, so that what it suggests can be pasted."""
    called = Path(sys.argv[0])
    if called.name != "raysafe" or shutil.which("raysafe") == str(called):
        return "raysafe"
    return str(called.relative_to(Path.cwd())) if called.is_relative_to(Path.cwd()) else str(called)


def single(arguments: Namespace) -> SweepConfig:
    """The file's configuration as one trial: its `sweep` section is left aside, the first of its seeds taken."""
    raw = read_yaml(Path(arguments.file))
    parse_overrides(raw, arguments.overrides)
    raw.pop("sweep", None)
    seeds = raw.get("seeds", [0])
    return make_sweep({**raw, "seeds": seeds[:1] if isinstance(seeds, list) else seeds}, arguments.file)


def _name(config: SweepConfig) -> str:
    return f"{config.name}-{fingerprint(config.trials[0].config)[:8]}"


def trial(arguments: Namespace) -> int:
    """`raysafe trial`."""
    config = single(arguments)
    with one_trial(_name(config), config, _options(arguments)) as (groups, task):
        result = run_trial(task.plan.config, groups.store, task.folder, groups.launcher(task.plan.name, _tell), task.inputs)
    write_json(task.folder / "scores.json", result.metrics)
    console = Console()
    console.print(score_table(task.plan.name, result.metrics))
    unsafe = _unsafe(result.unsafe_selected)
    console.print(f"{result.selected_rows} rows selected{unsafe}\nresults   {task.folder}", highlight=False, soft_wrap=True)
    return 0


def _unsafe(share: float | None) -> str:
    return "" if share is None else f", {share:.1%} of them unsafe"


def _tell(row: tuple[str, int, dict[str, float]]) -> None:
    label, step, metrics = row
    names = ("loss", "train/loss", "selector/safe_loss", "selector/auc", "eval/win_rate", "eval/safety_score")
    shown = "  ".join(f"{name.split('/')[-1]} {metrics[name]:.3f}" for name in names if name in metrics)
    Console(stderr=True).print(f"{label:10s} step {step:5d}  {shown}", highlight=False)


def select(arguments: Namespace) -> int:
    """`raysafe select`."""
    config = single(arguments)
    if arguments.out.suffix != ".parquet":
        raise ConfigError(f"--out takes a .parquet file, but got {arguments.out}.")
    with one_trial(_name(config), config, _options(arguments)) as (groups, task):
        launch, one = groups.launcher(task.plan.name, _tell), task.plan.config
        model = base_model(one, task.inputs, launch)
        (ranking,) = launch([rank_stage(one, task.inputs, ranking_model(one, task.inputs, model, launch))])
    selection = select_rows(one, ranking)
    selection.save(arguments.out)
    print_diagnosis(diagnosis_of(one, ranking), Console())
    print(f"{len(selection.rows)} of {selection.total} rows selected{_unsafe(selection.unsafe_share)}: {arguments.out}")
    return 0


def evaluate(arguments: Namespace) -> int:
    """`raysafe evaluate`."""
    config = single(arguments)
    given = model_ref(arguments.model, config.trials[0].config.model.chat_template)
    with one_trial(_name(config), config, _options(arguments)) as (groups, task):
        launch, one = groups.launcher(task.plan.name), task.plan.config
        base = base_model(one, task.inputs, launch)
        (reference,) = launch([reference_stage(one, task.inputs, base)])
        (scores,) = launch([EvaluateStage(given or base, evaluation_plan(one, task.inputs, base, reference))])
    metrics = rates_of(scores.result["metrics"])
    Console().print(score_table(arguments.model, metrics))
    if arguments.out:
        write_json(arguments.out, metrics)
    return 0


def report(arguments: Namespace) -> int:
    """`raysafe report`."""
    console = Console()
    print_report(arguments.folder, console)
    rankings = read_rankings(arguments.folder)
    write_rankings(rankings)
    print_rankings(rankings, console)
    return 0


def ui(arguments: Namespace) -> int:
    """`raysafe ui`."""
    storage = (arguments.storage or default_storage()).absolute()
    return serve(arguments.tracking_uri or store_uri(storage), arguments.port)
