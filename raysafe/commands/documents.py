"""What `--json` says of a sweep: the same keys for whichever command tells of it (docs/commands.md)."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raysafe.report.summary import SUMMARY, TrialRow, read_summary
from raysafe.report.table import BASE

FILES = ("report.html", "report.md", "rankings/rankings.md")


def sweep_document(folder: Path) -> dict[str, Any]:
    """`sweep`, `folder`, `trials` (those that have ended), `base` (the untrained models), `files` that are there."""
    return {
        "sweep": folder.name,
        "folder": str(folder),
        "trials": plain_rows(folder / SUMMARY),
        "base": plain_rows(folder / BASE),
        "files": [str(folder / name) for name in (SUMMARY, *FILES) if (folder / name).exists()],
    }


def plain_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a summary; none where there is no file."""
    return [plain_row(row) for row in read_summary(path)] if path.exists() else []


def plain_row(row: TrialRow) -> dict[str, Any]:
    """A row of a summary: what it is, what the sweep set in it, and its figures by name."""
    own = {"trial": row.trial, "status": row.status, "seed": row.seed, "swept": dict(row.swept), "figures": dict(row.figures)}
    return own | row.axes | {"error": row.error}


def plain_rates(rates: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Rates by name: `value`, `low`, `high`, `n`."""
    return {name: asdict(rate) for name, rate in rates.items()}
