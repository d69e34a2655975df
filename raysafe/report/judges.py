"""Agreement between the judges of a sweep: `judges.csv` and `judges.md`, and what the report and MLflow tell of it."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from raysafe.artifacts import write_text
from raysafe.evaluation.agreement import Agreement, agreements, paired, pairs_of
from raysafe.evaluation.by_prompt import PromptTable, table_of
from raysafe.report.summary import cell

JUDGES_CSV, JUDGES_MD = "judges.csv", "judges.md"
ALL = "all trials"
"""The scope of what is pooled over trials; the others are trials by name."""
COLUMNS = (
    "scope", "suite", "judge", "other", "answers", "prompts", "agreement", "kappa", "kappa_low", "kappa_high",
    "hits", "other_hits", "coherence", "note",
)  # fmt: skip
HOW = (
    "Cohen's κ of two judges' verdicts on the same answers, with its 95 % interval over prompts: 1 is full agreement, 0 what "
    "chance gives. Answers that one of them takes for gibberish are left out where compliance or refusal is asked. Hits: what "
    "share each calls a compliance, a refusal, or right, as the suite asks; coherence: the share that both take for language."
)


@dataclass(frozen=True)
class Line:
    """Two judges on one suite of a trial, or of all trials together (`ALL`)."""

    scope: str
    found: Agreement

    @property
    def cells(self) -> dict[str, Any]:
        """By the columns of `judges.csv`."""
        one, of = self.found, self.found.of
        values = (
            self.scope, one.suite, one.judge, one.other, of.n, of.prompts, of.share, of.kappa, of.low, of.high,
            one.hits, one.other_hits, one.coherent, of.note,
        )  # fmt: skip
        return dict(zip(COLUMNS, values, strict=True))

    @property
    def kappa_text(self) -> str:
        """`0.81 [0.70, 0.92]`."""
        of = self.found.of
        return "undefined" if of.kappa is None else f"{of.kappa:.2f} [{of.low:.2f}, {of.high:.2f}]"


def read_agreement(folder: Path, names: Iterable[str]) -> list[Line]:
    """What judges agree on in the trials of a sweep's folder, all together first; empty where nobody judged besides.

    Raises DataError for a broken table.
    """
    tables = {name: table for name in names if (table := table_of(folder, name)) is not None}
    return agreement_of(tables)


def agreement_of(tables: dict[str, PromptTable]) -> list[Line]:
    """Of tables by trial."""
    pooled: dict[tuple[str, str], list[pd.DataFrame]] = {}
    by_trial: list[Line] = []
    for name, table in tables.items():
        for judges in pairs_of(table):
            pairs = paired(table, *judges)
            pooled.setdefault(judges, []).append(pairs)
            by_trial += [Line(name, found) for found in agreements(pairs, *judges)]
    together = [agreements(pd.concat(parts), *judges) for judges, parts in pooled.items()]
    return [*(Line(ALL, found) for several in together for found in several), *by_trial]


def write_agreement(folder: Path, lines: Sequence[Line]) -> None:
    """Write `judges.csv` and `judges.md`, each whole; a sweep with one judge has neither."""
    for name, text in ((JUDGES_CSV, csv_text(lines)), (JUDGES_MD, markdown(lines))):
        if lines:
            write_text(folder / name, text)
        else:
            (folder / name).unlink(missing_ok=True)


def csv_text(lines: Sequence[Line]) -> str:
    """All lines, with all digits; what is undefined is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([cell(value) for value in line.cells.values()] for line in lines)
    return text.getvalue()


def markdown(lines: Sequence[Line]) -> str:
    """All trials together, then each."""
    together, single = ([line for line in lines if (line.scope == ALL) == pooled] for pooled in (True, False))
    parts = [
        "# Agreement between judges",
        HOW,
        "## All trials together",
        _table(together),
        "## Every trial",
        _table(single, True),
    ]
    return "\n\n".join(parts) + "\n"


def _table(lines: Sequence[Line], scope: bool = False) -> str:
    head = [*(["trial"] if scope else []), *SHOWN]
    rows = [head, ["---"] * len(head), *([*([line.scope] if scope else []), *shown(line)] for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


SHOWN = ("suite", "judges", "answers", "agree", "κ", "hits", "coherence", "")
"""The columns of a line as people read it."""


def shown(line: Line) -> list[str]:
    """A line's cells as people read them."""
    one, of = line.found, line.found.of
    said = [one.suite, f"{one.judge}, {one.other}", str(of.n), f"{of.share:.2f}", line.kappa_text]
    return [*said, f"{one.hits:.2f}, {one.other_hits:.2f}", f"{one.coherent:.2f}", of.note]


def pooled(lines: Sequence[Line]) -> list[Line]:
    """Those of all trials together."""
    return [line for line in lines if line.scope == ALL]
