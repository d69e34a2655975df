"""Rows for the tests of the report."""

from dataclasses import replace
from typing import Any

from raysafe.report.summary import TrialRow


def rates(win: float, safety: float, **others: float) -> dict[str, float]:
    """Win rate and safety score with intervals of 0.1 to either side."""
    named = {"win_rate": win, "safety_score": safety}
    ends = {f"{name}{end}": value + by for name, value in named.items() for end, by in (("_low", -0.1), ("_high", 0.1))}
    return named | ends | others


def a_row(gamma: float = 0.1, seed: int = 0, status: str = "FINISHED", **figures: Any) -> TrialRow:
    """A trial at a gamma, with everything known."""
    others = {
        "asr_direct": 0.25,
        "asr_prefill": 0.5,
        "asr_prefill_5": 1.0,
        "over_refusal": 0.05,
        "utility": 0.93,
        "new_tasks": 0.5,
    }
    counts = {"selected_rows": 320, "unsafe_selected": 0.125, "epochs": 4, "wall_s": 31.5}
    return TrialRow(
        trial=f"gamma{gamma}-seed{seed}",
        status=status,
        seed=seed,
        swept={"selector.gamma": gamma, "selection.percent": 80},
        figures=rates(0.5, 0.75) | others | counts | figures,
    )


def without(row: TrialRow, name: str) -> TrialRow:
    """The trial, with one figure that nobody knows."""
    return replace(row, figures={other: value for other, value in row.figures.items() if other != name})


FAILED = TrialRow("003-failed", "FAILED", 0, {"selector.gamma": 0.2, "selection.percent": 80}, error="out of [memory]\non GPU 0")
