"""`raysafe reproduce`: a tracked trial run again from its record, what has changed since, and old scores beside new ones."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from raysafe.commands.base import LOADING, Command, options, store_for_checks, teller
from raysafe.report.live import LiveTable
from raysafe.sweep.places import default_storage

if TYPE_CHECKING:
    from raysafe.artifacts import Artifacts
    from raysafe.config.trials import SweepConfig
    from raysafe.models.fetched import Say
    from raysafe.sweep.reproducing import ScoreLine

EQUAL = "\\[ ]: 95 % interval over prompts; within: each score lies in the other's interval."


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run_id", metavar="RUN_ID", help="the run of a trial, as MLflow's pages show it")
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow's store; sqlite in the storage folder if left out")
    parser.add_argument("--storage", type=Path, metavar="DIR", help="where results go (default: $RAYSAFE_STORAGE or runs)")
    parser.add_argument("--address", metavar="auto", help="a Ray cluster to join; without it Ray starts here")
    parser.add_argument("--reuse", action="store_true", help="take what the storage has; without it all is made anew")
    parser.add_argument("--dry-run", action="store_true", help="tell what has changed since and run nothing")


def run(arguments: Namespace) -> int:
    voice = arguments.voice
    live = LiveTable(voice.err, lines=voice.verbose)
    live.step(f"looking for run {arguments.run_id}")
    from raysafe.sweep.reproducing import compared, configuration, fresh_folder, selections_compared
    from raysafe.tracking.mlflow.reading import recorded_run
    from raysafe.tracking.stores import check_uri, store_uri

    storage = arguments.storage or default_storage()
    uri = arguments.tracking_uri or store_uri(storage.absolute())
    check_uri(uri)
    with TemporaryDirectory(prefix="raysafe-") as place:
        record = recorded_run(uri, arguments.run_id, Path(place))
        config = configuration(record)
        head = {"run_id": record.run_id, "sweep": record.sweep, "trial": record.name}
        what = f"{record.name} of the sweep {record.sweep}, which ended as {record.status}"
        voice.out.print(what, highlight=False, markup=False, soft_wrap=True)
        differences = differing(config, store_for_checks(config, storage), live.step)
        for text in differences or ["nothing that is on record has changed since"]:
            voice.out.print(f"  {text}", highlight=False, markup=False, soft_wrap=True)
        if arguments.dry_run:
            last = [f"{len(differences)} differences"] if voice.quiet else []
            voice.end(head | {"differences": differences, "dry_run": True}, *last)
            return 0
        how = options(arguments)
        how = how if arguments.reuse else replace(how, storage=fresh_folder(storage, record.run_id))
        live.step(LOADING)
        folder, now = again(record.name, config, how, live)
        lines = compared(record.metrics, now)
        rows = selections_compared(record.files / "selection.parquet", folder / "selection.parquet")
    voice.out.print(score_table(lines))
    if rows is not None:
        text = f"{rows['both']} rows kept both times, {rows['only_then']} only then, {rows['only_now']} only now"
        voice.out.print(text, highlight=False)
    told = [asdict(line) | {"equal": line.equal, "within": line.within} for line in lines]
    document = head | {"folder": str(folder), "differences": differences, "dry_run": False, "scores": told, "selection": rows}
    voice.end(document, f"results   {folder}", verdict(lines))
    return 0


def differing(config: SweepConfig, store: Artifacts, say: Say) -> list[str]:
    """What has changed since the run. Reads and checks all data; what has to be made for that goes into `store`."""
    from raysafe.stages.inputs import find_inputs
    from raysafe.sweep.written import changes

    return changes(config.written, [find_inputs(config.trials[0].config, store, say)])


def again(name: str, config: SweepConfig, how: Any, live: LiveTable) -> tuple[Path, Mapping[str, float]]:
    """Run the trial; its folder, and its scores with their intervals."""
    from raysafe.artifacts import write_json
    from raysafe.cluster.running import one_trial
    from raysafe.evaluation.metrics import flat_rates
    from raysafe.sweep.written import write_trial
    from raysafe.trial import run_trial

    with one_trial(name, config, how, live) as (groups, task):
        launch = groups.launcher(task.plan.name, teller(live))
        result = run_trial(task.plan.config, groups.store, task.folder, launch, task.inputs)
    write_trial(task.folder, config.name, task.plan.config, task.inputs)
    write_json(task.folder / "scores.json", result.metrics)
    return task.folder, flat_rates(result.metrics)


def score_table(lines: Sequence[ScoreLine]) -> Table:
    """Old scores beside new ones."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), caption=EQUAL, caption_justify="left")
    for column in ("score", "then", "now", "difference", ""):
        table.add_column(column, justify="left" if column in ("score", "") else "right", no_wrap=True)
    words = {True: "within", False: "[red]outside[/]", None: ""}
    for line in lines:
        then = _with_ends(line.then, line.then_low, line.then_high)
        now = _with_ends(line.now, line.now_low, line.now_high)
        table.add_row(line.name, then, now, f"{line.now - line.then:+.3f}", "equal" if line.equal else words[line.within])
    return table


def verdict(lines: Sequence[ScoreLine]) -> str:
    """What the comparison comes to."""
    equal, outside = sum(line.equal for line in lines), sum(line.within is False for line in lines)
    if not lines:
        return "the run has no scores to compare with"
    rest = f"{outside} lie outside each other's intervals" if outside else "all lie within each other's intervals"
    return f"{equal} of {len(lines)} scores are equal, {rest}"


def _with_ends(value: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"{value:.3f}"
    ends = ", ".join(f"{end:.2f}".removeprefix("0") for end in (low, high))
    return f"{value:.3f} \\[{ends}]"


COMMAND = Command("a tracked trial again, from its record", arguments, run)
