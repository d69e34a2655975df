"""Diagnostics of rankings in a terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from raysafe.ranking.diagnosis import Diagnosis
from raysafe.report.rankings import FOLDER, SweepRankings, agreement_lines
from raysafe.report.table import NONE
from raysafe.selection.measures import Distribution

_COLUMNS = {"rows": "count", "mean": "mean", "min": "min", "5 %": "q5", "median": "q50", "95 %": "q95", "max": "max"}
"""Of the terminal's table, which has room for some figures only; the file has all."""


def print_diagnosis(diagnosis: Diagnosis, console: Console) -> None:
    """All that is known of one ranking."""
    planted = f", {diagnosis.planted} planted ({diagnosis.planted_dropped} of them dropped)" if diagnosis.planted else ""
    unsafe = f", {diagnosis.unsafe_rows} of them unsafe" if diagnosis.unsafe_rows is not None else ", not all of them labelled"
    head = f"{diagnosis.rows} rows{unsafe}; {sum(diagnosis.dropped.values())} dropped{planted}; AUC {_share(diagnosis.auc)}"
    console.print(head, highlight=False, soft_wrap=True)
    for reason, count in diagnosis.dropped.items():
        console.print(f"  dropped {count}: {escape(reason)}", highlight=False, soft_wrap=True)
    if diagnosis.unsafe_share or diagnosis.planted_recall:
        console.print(shares_table(diagnosis))
    console.print(scores_table(diagnosis))
    for warning in diagnosis.warnings:
        console.print(f"warning: {escape(warning)}", style="yellow", highlight=False, soft_wrap=True)


def shares_table(diagnosis: Diagnosis) -> Table:
    """Over p: unsafe share among the kept rows, share of the planted rows that are left out."""
    table = _table("p in %", *(diagnosis.unsafe_share or diagnosis.planted_recall))
    for name, values in (("unsafe kept", diagnosis.unsafe_share), ("planted found", diagnosis.planted_recall)):
        if values:
            table.add_row(name, *map(_share, values.values()))
    return table


def scores_table(diagnosis: Diagnosis) -> Table:
    """Distribution of the scores, group by group."""
    table = _table("scores of", *_COLUMNS)
    for by, groups in diagnosis.scores.items():
        for name, scores in groups.items():
            table.add_row(escape(f"{by}: {name}"), *_distribution(scores))
        table.add_section()
    return table


def print_rankings(report: SweepRankings, console: Console) -> None:
    """How a sweep's rankings agree, and where the tables and pictures of each lie; nothing of a sweep without any."""
    if not report.rankings:
        return
    if report.agreements:
        first, *rest = agreement_lines(report)
        table = _table(*first)
        table.title = f"agreement of {len(report.rankings)} rankings"
        for line in rest:
            table.add_row(*map(escape, line))
        console.print(table)
    for warning in report.warnings:
        console.print(f"warning: {escape(warning)}", style="yellow", highlight=False, soft_wrap=True)
    for note in report.notes:
        console.print(note, style="dim", highlight=False, soft_wrap=True)
    console.print(f"rankings  {report.folder / FOLDER}", highlight=False, soft_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place == 0 else "right", no_wrap=place > 0 and " " not in column.strip())
    return table


def _distribution(scores: Distribution | None) -> Sequence[str]:
    if scores is None:
        return [NONE] * len(_COLUMNS)
    return [f"{getattr(scores, name):.3g}" if name != "count" else str(scores.count) for name in _COLUMNS.values()]


def _share(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}".removeprefix("0") if value < 1 else f"{value:.2f}"
