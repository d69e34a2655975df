"""The result tables for LaTeX, with booktabs."""

import re
from collections.abc import Sequence

from raysafe.report.summary import TrialRow
from raysafe.report.table import make_grid

REPORT_TEX = "report.tex"
_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "−": "$-$", "×": r"$\times$", "±": r"$\pm$", "≥": r"$\ge$",
    "γ": r"$\gamma$", "τ": r"$\tau$", "β": r"$\beta$", "α": r"$\alpha$", "ω": r"$\omega$",
    "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip
_SPECIAL = re.compile("|".join(map(re.escape, _ESCAPES)))


def escaped(text: str) -> str:
    """The text as LaTeX prints it; a line's end is a space."""
    return _SPECIAL.sub(lambda match: _ESCAPES[match[0]], " ".join(text.split()))


def latex_table(rows: Sequence[TrialRow], caption: str, label: str) -> str:
    """A table environment; intervals are small, the best values bold."""
    grid = make_grid(rows, intervals=True)
    columns = "".join("l" if place < grid.left else "r" for place in range(len(grid.columns)))
    head = " & ".join(escaped(name) for name in grid.columns)
    lines = [" & ".join(_cell(cells[row], (row, name) in grid.best) for name, cells in grid) + r" \\" for row in range(len(rows))]
    body = "\n".join(
        [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", rf"{head} \\", r"\midrule", *lines, r"\bottomrule", r"\end{tabular}"]
    )
    return "\n".join(
        [r"\begin{table}", r"\centering\small", body, rf"\caption{{{escaped(caption)}}}", rf"\label{{{label}}}", r"\end{table}"]
    )


def _cell(text: str, best: bool) -> str:
    value, bracket, interval = text.partition(" [")
    shown = rf"\textbf{{{escaped(value)}}}" if best else escaped(value)
    return rf"{shown} {{\scriptsize [{escaped(interval)}}}" if bracket else shown


def latex_report(name: str, question: str, rows: Sequence[TrialRow], means: Sequence[TrialRow]) -> str:
    """Means over seeds where there are several, and every trial. Needs the package booktabs."""
    label = re.sub(r"[^\w-]+", "-", name)
    parts = [r"% needs \usepackage{booktabs}; [ ]: 95 % intervals"]
    if len(means) < len(rows):
        parts.append(latex_table(means, f"{name}, means over seeds. {question}", f"tab:{label}-means"))
    return "\n\n".join([*parts, latex_table(rows, f"{name}. {question}", f"tab:{label}")]) + "\n"
