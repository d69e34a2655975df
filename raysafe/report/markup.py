"""Pieces of the report's HTML: tables, chips, lists. Everything that comes from a sweep is escaped here."""

from collections.abc import Iterable, Sequence
from html import escape

from raysafe.report.summary import TrialRow
from raysafe.report.table import BASE_STATUS, Grid, make_grid

MOST_LINES = 30
"""A longer table scrolls in a frame of its own."""
WIDE = 90
"""Characters from which a fact has a row for itself."""


def table(rows: Sequence[TrialRow]) -> str:
    """The result table: best values bold, intervals dimmed, status as chips."""
    grid = make_grid(rows, intervals=True)
    names = list(grid.columns)
    head = "".join(f'<th scope="col"{_left(grid, place)}>{escape(name)}</th>' for place, name in enumerate(names))
    statuses = grid.columns["status"]
    lines = []
    for number, status in enumerate(statuses):
        cells = "".join(_cell(grid, name, number, place) for place, name in enumerate(names))
        kind = ' class="base"' if status == BASE_STATUS else ""
        lines.append(f"<tr{kind}>{cells}</tr>")
    tall = " tall" if len(lines) > MOST_LINES else ""
    return f'<div class="scroll{tall}"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def plain_table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table of texts; the first `left` columns say what a row is."""

    def line(cells: Sequence[str], tag: str) -> str:
        sides = [' class="left"' if place < left else "" for place in range(len(cells))]
        return f"<tr>{''.join(f'<{tag}{side}>{escape(cell)}</{tag}>' for cell, side in zip(cells, sides, strict=True))}</tr>"

    body = "".join(line(row, "td") for row in rows)
    tall = " tall" if len(rows) > MOST_LINES else ""
    return f'<div class="scroll{tall}"><table><thead>{line(head, "th")}</thead><tbody>{body}</tbody></table></div>'


def _left(grid: Grid, place: int) -> str:
    return ' class="left"' if place < grid.left else ""


def _cell(grid: Grid, name: str, row: int, place: int) -> str:
    text = grid.columns[name][row]
    if name == "status":
        return f'<td class="left">{"".join(chip(part) for part in text.replace(",", "").splitlines())}</td>'
    value, bracket, interval = text.partition(" [")
    shown = f"<b>{escape(value)}</b>" if (row, name) in grid.best else escape(value)
    ends = f'<span class="ci">[{escape(interval)}</span>' if bracket else ""
    return f"<td{_left(grid, place)}>{shown}{ends}</td>"


def chip(text: str) -> str:
    """A status, such as `finished` or `failed 2`."""
    kind = escape(text.split(" ")[0].rstrip(":"))
    return f'<span class="chip {kind}">{escape(text)}</span>'


def items(texts: Iterable[str], kind: str = "notes") -> str:
    """A list, nothing of no texts."""
    lines = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f'<ul class="{kind}">{lines}</ul>' if lines else ""


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Terms and what they are, a long text over the whole width; those without a text are left out."""
    return f'<dl class="facts">{"".join(_fact(term, text) for term, text in pairs if text)}</dl>'


def _fact(term: str, text: str) -> str:
    wide = ' class="wide"' if len(text) > WIDE else ""
    return f"<div{wide}><dt>{escape(term)}</dt><dd>{escape(text)}</dd></div>"


def code(text: str) -> str:
    """A block of code."""
    return f"<pre><code>{escape(text)}</code></pre>"


def folded(title: str, inside: str, opened: bool = False) -> str:
    """What a reader can open, or close."""
    return f"<details{' open' if opened else ''}><summary>{escape(title)}</summary>{inside}</details>"


def section(key: str, title: str, inside: str, says: str = "") -> str:
    """A part of the page with its heading."""
    told = f'<p class="says">{escape(says)}</p>' if says else ""
    return f'<section id="{key}"><h2>{escape(title)}</h2>{told}{inside}</section>'
