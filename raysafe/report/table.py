"""The result table of a sweep, for a terminal and for `report.md`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from raysafe.artifacts import write_text
from raysafe.errors import DataError
from raysafe.report.answer import Answer, answer_of
from raysafe.report.figures import STAYS, listed, unit_of
from raysafe.report.means import HOW, aggregate
from raysafe.report.naming import NONE, setting_text, short_names
from raysafe.report.prompts import ByPrompt, no_prompts, prompts_of
from raysafe.report.summary import AXES, SUMMARY, TrialRow, evaluations, read_summary, swept_keys
from raysafe.report.sweep_file import SWEEP, question_in, sweep_head
from raysafe.report.variance import markdown_variance, variance_of

MOST_SETTINGS = 4
"""Swept settings that get a column of their own."""
REPORT = "report.md"
BASE = "base.csv"
"""Like the summary, of the untrained models."""
BASE_STATUS = "base model"
_STYLES = {"FINISHED": "green", "STOPPED": "yellow", "FAILED": "red", "RUNNING": "cyan"}


@dataclass(frozen=True)
class Grid:
    """A table as texts, column by column. `left`: columns that say what a row is; `best`: (row, column) to set off;
    `first_to_go`: columns that can be spared, the least important first."""

    columns: Mapping[str, tuple[str, ...]]
    left: int
    best: frozenset[tuple[int, str]]
    first_to_go: tuple[str, ...]

    @property
    def width(self) -> int:
        """Characters in a terminal, with one between columns."""
        lines = [[*_in_lines(name).split("\n"), *(part for cell in cells for part in cell.split("\n"))] for name, cells in self]
        return sum(max(map(len, column)) + 1 for column in lines)

    def __iter__(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        return iter(self.columns.items())

    def without(self, left_out: Sequence[str]) -> "Grid":
        """The grid without these columns."""
        return replace(self, columns={name: cells for name, cells in self if name not in left_out})


def result_table(rows: Sequence[TrialRow], width: int | None = None) -> Table:
    """A row for each trial, or mean over seeds, ordered by swept setting; the best win rate and safety score are bold.

    Columns that `width` characters have no room for are left out, the least important first, and named below.
    """
    grid, left_out = fitting(make_grid(rows), width)
    caption = f"No room here for {', '.join(left_out)}: see {REPORT}." if left_out else None
    gap = int(width is None or grid.width + len(grid.columns) <= width)  # the box itself puts one space between columns
    table = Table(box=box.SIMPLE_HEAD, padding=(0, gap, 0, 0), show_edge=False, caption=caption, caption_justify="left")
    for place, (name, _) in enumerate(grid):
        known = place < grid.left
        table.add_column(_in_lines(name), justify="left" if known else "right", no_wrap=not known)
    cells_by_column = [[_styled(grid, name, row, cell) for row, cell in enumerate(cells)] for name, cells in grid]
    for line in zip(*cells_by_column, strict=True):
        table.add_row(*line)
    return table


def markdown_table(rows: Sequence[TrialRow]) -> str:
    """The same table in Markdown, with all columns, and an interval with every rate."""
    grid = make_grid(rows, intervals=True)
    columns = [
        (name, "---" if place < grid.left else "---:", *(_marked(grid, name, row, cell) for row, cell in enumerate(cells)))
        for place, (name, cells) in enumerate(grid)
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in zip(*columns, strict=True))


def make_grid(rows: Sequence[TrialRow], intervals: bool = False) -> Grid:
    """The cells of both tables; columns that no row fills are left out. `intervals`: with every rate, not the main ones only."""
    rows = in_order(rows)
    columns = _settings_columns(rows)
    columns["status"] = [row.status.lower().replace(", ", ",\n") for row in rows]
    columns |= _seed_column(rows)
    left = len(columns)
    figures = [figure for figure in listed(row.figures for row in rows) if figure.title]
    for figure in figures:
        columns[figure.title] = [figure.cell(row.figures, figure.main or intervals) or NONE for row in rows]
        if figure.unit == "rows" and not any(row.figures.get(figure.name) for row in rows):
            del columns[figure.title]
    shown = {name: tuple(cells) for name, cells in columns.items() if name == "status" or any(cell != NONE for cell in cells)}
    best = {(row, figure.title) for figure in figures if figure.main for row in _best_rows(rows, figure.name)}
    spared = sorted((figure for figure in figures if figure.keep < STAYS), key=lambda figure: figure.keep)
    return Grid(shown, left, frozenset(best), tuple(figure.title for figure in spared))


def _settings_columns(rows: Sequence[TrialRow]) -> dict[str, list[str]]:
    """A column for each swept setting, or one for all where there are too many to stand side by side."""
    short = short_names(swept_keys(rows))
    if len(short) <= MOST_SETTINGS:
        return {name: [setting_text(row.swept.get(key)) for row in rows] for key, name in short.items()}
    texts = [", ".join(f"{short[key]} {setting_text(value)}" for key, value in row.swept.items()) for row in rows]
    return {"settings": [text or NONE for text in texts]}


def fitting(grid: Grid, width: int | None) -> tuple[Grid, list[str]]:
    """The grid without the columns that must go to fit the width, and their names."""
    left_out: list[str] = []
    for name in grid.first_to_go:
        if width is None or grid.without(left_out).width <= width:
            break
        left_out += [name] if name in grid.columns else []
    return grid.without(left_out), left_out


def in_order(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """By swept settings, numbers by size, then by seeds."""
    keys = swept_keys(rows)

    def place(row: TrialRow) -> tuple[Any, ...]:
        return [_rank(row.swept.get(key)) for key in keys], [seed or 0 for seed in row.replicate], row.trial

    return sorted(rows, key=place)


def print_report(folder: Path, console: Console) -> None:
    """Print the answer and the tables of a sweep's folder from its `summary.csv` and write them to `report.md` beside it.

    Raises DataError if it is no sweep's folder.
    """
    rows, base = ended_rows(folder), rows_of_base(folder)
    head, by_prompt = sweep_head(folder), prompts_of(folder)
    question, answer, means = question_in(head), answer_of(rows, by_prompt), aggregate(rows, by_prompt)
    several = len(means) < len(rows)
    if question:
        console.print(escape(question), style="italic")
    if rows:
        console.print(escape(" ".join(answer.sentences)), style="bold", highlight=False)
    console.print(result_table([*means_of_base(base, by_prompt), *means] if several else [*base, *rows], console.width))
    for note in [*(answer.notes if rows else ()), *notes_of(rows, several)]:
        console.print(escape(note), style="dim", highlight=False, soft_wrap=True)
    for row in rows:
        if row.error:
            console.print(
                f"[red]{escape(row.trial)}[/] {row.status.lower()}: {escape(row.error)}", highlight=False, soft_wrap=True
            )
    more = markdown_variance(variance_of(rows, by_prompt))
    write_text(folder / REPORT, markdown_report(folder.absolute().name, question, rows, base, answer) + more)


def ended_rows(folder: Path) -> list[TrialRow]:
    """Of a sweep's folder the trials that have ended, none while none has. Raises DataError if it is no sweep's folder."""
    if (folder / SUMMARY).is_file():
        return read_summary(folder / SUMMARY)
    if (folder / SWEEP).is_file():
        return []
    raise DataError(f"{folder}: has neither {SUMMARY} nor {SWEEP}. Name a sweep's folder, STORAGE/NAME.")


def rows_of_base(folder: Path) -> list[TrialRow]:
    """Scores of the models that the trials started from, one a model, from `base.csv`."""
    path = folder / BASE
    return [replace(row, status=BASE_STATUS) for row in read_summary(path)] if path.is_file() else []


def means_of_base(base: Sequence[TrialRow], by_prompt: ByPrompt = no_prompts) -> list[TrialRow]:
    """Means over seeds of the untrained models' scores."""
    means = aggregate([replace(row, status="FINISHED") for row in base], by_prompt)
    return [replace(row, status=BASE_STATUS) for row in means]


def markdown_report(
    name: str, question: str, rows: Sequence[TrialRow], base: Sequence[TrialRow] = (), answer: Answer | None = None
) -> str:
    """The page: question, answer, means over seeds where there are several, every trial, errors; `base`, the untrained models,
    first."""
    by_prompt = answer.by_prompt if answer else no_prompts
    means = aggregate(rows, by_prompt)
    several = len(means) < len(rows)
    told = [" ".join(answer.sentences), *answer.notes] if answer and rows else []
    parts = [f"# {name}", question, *(f"**{text}**" if place == 0 else text for place, text in enumerate(told))]
    if several:
        parts += ["## Means over seeds", markdown_table([*means_of_base(base, by_prompt), *means]), "## Trials"]
    parts += [markdown_table([*base, *rows]), *notes_of(rows, several)]
    errors = [f"- `{row.trial}` {row.status.lower()}: {row.error}" for row in rows if row.error]
    parts += ["## Errors", "\n".join(errors)] if errors else []
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def notes_of(rows: Sequence[TrialRow], several: bool) -> list[str]:
    """What a reader of the table must know; `several`: whether there are means over seeds."""
    if not rows:
        return ["No trial has ended yet."]
    notes = ["Rates lie between 0 and 1; ASR: attack success rate, lower is safer; [ ]: 95 % interval over prompts."]
    if any(unit_of(name) == "nats" for row in rows for name in row.figures):
        notes.append("Refusal margin and KL from base are in nats; a margin above 0: a refusal is likelier than compliance.")
    if several:
        notes.append(HOW)
    if (ways := len(evaluations(rows))) > 1:
        notes.append(
            f"The trials were evaluated in {ways} different ways (column `evaluation`): compare none of one with one of another."
        )
    if any(row.figures.get("batching") == "padded" for row in rows):
        notes.append("Rows were padded, as packed rows of this model can't be vouched for, or as `training.batching` says.")
    if any(row.status == "STOPPED" for row in rows):
        notes.append("A stopped trial's scores are those after its last epoch, on the prompts of that scoring.")
    if any(row.guarded for row in rows):
        notes.append("A trial whose error names a guard broke it, and is in no comparison.")
    return notes


def _seed_column(rows: Sequence[TrialRow]) -> dict[str, list[str]]:
    if any(row.seeds > 1 for row in rows):
        return {"seeds": [str(row.seeds) for row in rows]}
    seeds = [{**row.axes, "seed": row.seed} for row in rows]
    shown = [name for name in (*AXES, "seed") if len({one.get(name) for one in seeds}) > 1]
    return {name.replace("_", " "): [NONE if (seed := one.get(name)) is None else str(seed) for one in seeds] for name in shown}


def _best_rows(rows: Sequence[TrialRow], name: str) -> list[int]:
    """Of those that ran to their end: others were scored on fewer prompts, after fewer epochs. None of several evaluations."""
    if len(evaluations(rows)) > 1:
        return []
    known = {place: row.figures[name] for place, row in enumerate(rows) if name in row.figures and "FINISHED" in row.status}
    best = max(known.values(), default=None)
    return [place for place, value in known.items() if value == best] if len(set(known.values())) > 1 else []


def _in_lines(title: str) -> str:
    return title.replace(" ", "\n", 1).replace("-", "-\n", 1)


def _styled(grid: Grid, name: str, row: int, cell: str) -> str:
    if name == "status":
        return f"[{_STYLES.get(cell.upper(), 'yellow')}]{cell}[/]"
    return f"[bold]{escape(cell)}[/]" if (row, name) in grid.best else escape(cell)


def _marked(grid: Grid, name: str, row: int, cell: str) -> str:
    text = cell.replace("|", "\\|").replace("\n", " ")
    return f"**{text}**" if (row, name) in grid.best else text


def _rank(value: Any) -> tuple[int, float, str]:
    """Unset first, then numbers by size, then texts."""
    if value is None:
        return 0, 0.0, ""
    return (1, float(value), "") if isinstance(value, int | float) else (2, 0.0, str(value))
