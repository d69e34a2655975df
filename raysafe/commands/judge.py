"""`raysafe judge`: a further judge decides about the stored answers of a sweep that has been run."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from raysafe.commands.base import Command
from raysafe.commands.documents import sweep_document
from raysafe.commands.report import rebuilt
from raysafe.report.live import LiveTable

if TYPE_CHECKING:
    from raysafe.report.judges import Line
    from raysafe.sweep.judging_later import Outcome
    from raysafe.sweep.syncing import Synced


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("sweep", metavar="SWEEP", type=Path, help="a sweep's folder, or its name in the storage")
    judge = "a judge's name, a YAML mapping of `name` and settings, or a .yaml file with one"
    parser.add_argument("--with", required=True, metavar="JUDGE", dest="judge", help=judge)
    parser.add_argument("--storage", type=Path, metavar="DIR", help="where sweeps lie (default: $RAYSAFE_STORAGE or runs)")
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="MLflow's store, which is told; sqlite beside the sweep if left out"
    )


def run(arguments: Namespace) -> int:
    voice = arguments.voice
    live = LiveTable(voice.err, lines=voice.verbose)
    live.step(f"looking at {arguments.sweep}")
    from raysafe.artifacts import Store
    from raysafe.report.judges import read_agreement
    from raysafe.report.table import ended_rows
    from raysafe.sweep.judged_told import tell_judged
    from raysafe.sweep.judging_later import find_judge, find_sweep, judge_later
    from raysafe.sweep.lock import held

    folder = find_sweep(arguments.sweep, arguments.storage)
    judge = find_judge(arguments.judge)
    with held(folder):
        outcome = judge_later(folder, judge, Store(folder.parent), live.step)
        page, _ = rebuilt(folder, voice.out)
        tell_judged(folder, outcome.rows)
        lines = read_agreement(folder, [row.trial for row in ended_rows(folder)])
        synced = tell_tracker(folder, arguments.tracking_uri, live)
    if lines:
        voice.out.print(agreement_table(lines))
    for text in (*outcome.notes, *outcome.problems):
        voice.err.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)
    voice.end(document(folder, outcome, lines, synced), last_line(outcome), f"report    {page}", *told_lines(folder, synced))
    return outcome.exit_code


def tell_tracker(folder: Path, uri: str | None, live: LiveTable) -> Synced | None:
    """Tell MLflow, if it is named or has had this sweep's record so far; None if not."""
    from raysafe.sweep.syncing import has_been_told, sync_held  # MLflow, which nothing else here needs
    from raysafe.tracking.backlog import BACKLOG
    from raysafe.tracking.stores import check_uri, store_uri

    uri, named = uri or store_uri(folder.parent), uri is not None
    if not (folder / BACKLOG).is_file() or not (named or has_been_told(folder, uri)):
        return None
    check_uri(uri)
    live.step("telling MLflow")
    return sync_held(folder, uri)


def told_lines(folder: Path, synced: Synced | None) -> list[str]:
    """What is to be said of MLflow."""
    return [f"MLflow    {synced}"] if synced else [f"MLflow    has not been told: raysafe report {folder} --sync tells it"]


def last_line(outcome: Outcome) -> str:
    """`10 judged by sandbox, 1 of them before; 2 could not be judged`."""
    count = len(outcome.made) + len(outcome.reused)
    before = f", {len(outcome.reused)} of them before" if outcome.reused else ""
    problems = f"; {len(outcome.problems)} could not be judged" if outcome.problems else ""
    return f"{count} judged by {outcome.judge.name}{before}{problems}"


def agreement_table(lines: Sequence[Line]) -> Table:
    """Agreement by suite, all trials together; why a kappa is undefined stands below."""
    from raysafe.report.judges import SHOWN, pooled, shown

    together = [dict(zip(SHOWN, shown(line), strict=True)) for line in pooled(lines)]
    notes = [f"{cells['suite']}, {cells['judges']}: {cells['']}" for cells in together if cells[""]]
    caption = "\n".join([*notes, "κ: Cohen's, with its 95 % interval over prompts; judges.csv has every trial."])
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), caption=caption, caption_justify="left")
    names = ("suite", "judges", "answers", "agree", "κ", "coherence")
    for name in names:
        table.add_column(name, justify="left" if name in ("suite", "judges") else "right", no_wrap=name != "judges")
    for cells in together:
        table.add_row(*(cells[name].replace("[", "\\[") for name in names))
    return table


def document(folder: Path, outcome: Outcome, lines: Sequence[Line], synced: Synced | None) -> dict[str, Any]:
    """What `--json` says."""
    who = {"name": outcome.judge.name, "version": outcome.judge.version, "settings": outcome.judge}
    told = {"store": synced.store, "told": synced.told, "missing": synced.missing} if synced else None
    did = {name: getattr(outcome, name) for name in ("made", "reused", "problems", "notes")}
    agreement = [{"scope": line.scope, **asdict(line.found)} for line in lines]
    return sweep_document(folder) | {"judge": who, **did, "agreement": agreement, "synced": told}


COMMAND = Command("have a further judge decide about a sweep's stored answers", arguments, run)
