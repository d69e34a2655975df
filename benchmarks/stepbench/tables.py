"""The benchmark's figures as tables."""

from typing import Any

from rich.console import Console
from rich.table import Table

TITLES = {
    "published": "as published", "ours": "ours", "trl": "TRL", "trl_precomputed": "TRL, precomputed", "ours_alone": "ours",
}  # fmt: skip


def print_lengths(console: Console, lengths: dict[str, tuple[float, float]]) -> None:
    """Mean tokens of the rows, in all and labels."""
    parts = [f"{name} {total:.0f} / {labels:.0f}" for name, (total, labels) in lengths.items()]
    console.print("mean tokens / labels of rows: " + ", ".join(parts))


def print_shape(console: Console, title: str, methods: dict[str, dict[str, Any]]) -> None:
    """One table a shape: a line for each method and way."""
    table = Table(title=title)
    names = ("method", "way", "CPU s", "ratio", "step MB", "ratio", "in all MB", "GFLOP", "of the floor's", "loss differs")
    for name in names:
        table.add_column(name, justify="left" if name in ("method", "way") else "right", no_wrap=True)
    for method, result in methods.items():
        ways = result["ways"]
        ours = list(ways)[-1]
        for way in ways:
            table.add_row(method if way == next(iter(ways)) else "", TITLES[way], *_cells(result, way, ours))
        table.add_row("", "floor", f"{result['floor_flops'] / result['flops_per_s']:.2f}", *[""] * 4, *_floor(result))
        table.add_section()
    console.print(table)


def _floor(result: dict[str, Any]) -> list[str]:
    return [f"{result['first_floor_flops'] / 1e9:.0f}", "", ""]


def _cells(result: dict[str, Any], way: str, ours: str) -> list[str]:
    figures, mine = result["ways"][way], result["ways"][ours]
    ratio = result["ratios"].get(way)
    cells = [f"{figures['median_s']:.2f} [{min(figures['seconds']):.2f}–{max(figures['seconds']):.2f}]"]
    cells.append("" if ratio is None else f"{ratio['median']:.2f} × [{ratio['low']:.2f}–{ratio['high']:.2f}]")
    if "memory" in figures:
        memory, own = figures["memory"], mine["memory"]
        cells += [f"{memory['step'] / 1e6:.0f}", "" if way == ours else f"{memory['step'] / own['step']:.2f} ×"]
        cells.append(f"{memory['peak'] / 1e6:.0f}")
    else:
        cells += ["", "", ""]
    cells += [f"{figures['first_flops'] / 1e9:.0f}", f"{100 * figures['floor_share']:.0f} %"]
    cells.append("" if way == ours else f"{result['differences'][way]:.0e}")
    return cells


def print_scaling(console: Console, rows: list[dict[str, float]]) -> None:
    """Seconds against real tokens."""
    table = Table(title="Cost against real tokens: 8 rows, one of them of 512 tokens")
    for name in ("other rows", "real tokens", "padded tokens", "ours, CPU s", "ours, s per 1000 real", "as published, CPU s"):
        table.add_column(name, justify="right")
    for row in rows:
        per = 1000 * row["ours_s"] / row["tokens"]
        cells = [f"{row['length']:.0f}", f"{row['tokens']:.0f}", f"{row['padded']:.0f}"]
        table.add_row(*cells, f"{row['ours_s']:.2f}", f"{per:.2f}", f"{row['published_s']:.2f}")
    console.print(table)
