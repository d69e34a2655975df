"""How the report's pictures look, and what becomes of them: PNG and SVG files, and SVG text for the page.

matplotlib's Figure is used directly, without pyplot, so that a thread may draw. A picture is 350 CSS pixels wide: on a telephone
its texts are legible as they are. It is drawn once, in the light colours; on the page each of them is a CSS variable.
"""

import html
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

INK, MUTED, GRID, PAPER = "#1b1f24", "#5b6570", "#e4e8ec", "#fdfefe"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
"""Okabe and Ito's, which colour-blind readers can tell apart; black and yellow are left out."""
MARKERS = ("o", "s", "^", "D", "v", "P")
STYLES = ("-", "--", "-.", ":")
MOST_SERIES = len(COLOURS)
WIDTH, HEIGHT = 350, 240
"""CSS pixels."""
_DPI = 96
_SIZES = {"title": 9.0, "label": 8.0, "tick": 7.5}
"""Points; 7.5 are 10 pixels."""
VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper", **{c: f"c{n}" for n, c in enumerate(COLOURS)}}
"""Colour to the name of its CSS variable."""


@dataclass(frozen=True)
class Plot:
    """A picture: its file's name, what it shows (for those who can't see it), and the figure. `tips`: texts that points show, by
    the id of their group, in the order in which they were drawn."""

    name: str
    alt: str
    figure: Any
    tips: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass
class Canvas:
    """A figure with one pair of axes, and the tips of its points so far."""

    figure: Any
    axes: Any
    alt: str
    tips: dict[str, list[str]] = field(default_factory=dict)

    def named(self, name: str) -> Plot:
        """The finished picture."""
        return Plot(name, self.alt, self.figure, self.tips)

    def points(self, x: Sequence[float], y: Sequence[float], tips: Sequence[str], **style: Any) -> None:
        """Markers whose tips show on the page."""
        if len(x):
            group = f"tips{len(self.tips)}"
            self.axes.scatter(x, y, gid=group, **{"s": 26, "linewidths": 0.8, "edgecolors": PAPER, "zorder": 3} | style)
            self.tips[group] = list(tips)


def canvas(
    title: str, x: str = "", y: str = "", legend: Sequence[tuple[str, Mapping[str, Any]]] = (), height: int = HEIGHT
) -> Canvas:
    """Empty axes with titles, and a legend above them of (name, line style)."""
    from matplotlib.figure import Figure

    lines = _legend_lines(legend)
    height += 15 * len(lines)
    figure = Figure(figsize=(WIDTH / _DPI, height / _DPI), dpi=_DPI)
    figure.patch.set_alpha(0)
    left, bottom, top = 50 if y else 30, 42 if x else 26, 30 + 15 * len(lines)
    axes = figure.add_axes((left / WIDTH, bottom / height, (WIDTH - left - 12) / WIDTH, (height - bottom - top) / height))
    figure.text(6 / WIDTH, 1 - 15 / height, title, fontsize=_SIZES["title"], color=INK, weight="bold", va="center")
    for number, line in enumerate(lines):
        for place, name, style in line:
            _legend_entry(figure, name, style, (place, height - 33 - 15 * number))
    axes.set_xlabel(x, fontsize=_SIZES["label"], color=MUTED)
    axes.set_ylabel(y, fontsize=_SIZES["label"], color=MUTED)
    _plain_axes(axes)
    return Canvas(figure, axes, title)


def _plain_axes(axes: Any) -> None:
    axes.patch.set_alpha(0)
    axes.tick_params(labelsize=_SIZES["tick"], color=GRID, labelcolor=MUTED, length=3)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(GRID)


def _legend_lines(legend: Sequence[tuple[str, Mapping[str, Any]]]) -> list[list[tuple[float, str, Mapping[str, Any]]]]:
    """Entries with their place from the left, in as many lines as they need."""
    lines: list[list[tuple[float, str, Mapping[str, Any]]]] = []
    place = WIDTH + 1.0
    for name, style in legend:
        width = 32 + 5.8 * len(name)
        if place + width > WIDTH:
            lines.append([])
            place = 6.0
        lines[-1].append((place, name, style))
        place += width
    return lines


def _legend_entry(figure: Any, name: str, style: Mapping[str, Any], at: tuple[float, float]) -> None:
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches() * _DPI
    x, y = at
    line = {"linewidth": 1.6, "markersize": 4.5, "markeredgewidth": 0, **style}
    ends = [x / width, (x + 8) / width, (x + 16) / width]
    figure.add_artist(Line2D(ends, [y / height] * 3, markevery=[1], **line))
    figure.text((x + 20) / width, y / height, name, fontsize=_SIZES["tick"], color=MUTED, va="center_baseline")


def series_style(place: int) -> dict[str, Any]:
    """Colour, marker and line of a series; each tells it apart by itself."""
    return {
        "color": COLOURS[place % len(COLOURS)],
        "marker": MARKERS[place % len(MARKERS)],
        "linestyle": STYLES[place % len(STYLES)],
    }


def note(figure: Any, text: str) -> None:
    """A small remark, bottom right."""
    height = figure.get_size_inches()[1] * _DPI
    figure.text(1 - 12 / WIDTH, 10 / height, text, fontsize=_SIZES["tick"], color=MUTED, va="center", ha="right")


def label(axes: Any, x: float, y: float, text: str, **style: Any) -> None:
    """A text beside a mark, on paper so that no line runs through it."""
    paper = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.6}
    axes.text(x, y, text, **{"fontsize": _SIZES["tick"], "color": INK, "va": "center", "bbox": paper} | style)


def small(axes: Any, x: float, y: float, text: str, **style: Any) -> None:
    """A text of a point or cell."""
    axes.text(x, y, text, **{"fontsize": 7.0, "color": INK, "ha": "center", "va": "center"} | style)


@contextmanager
def quiet_settings() -> Iterator[None]:
    """matplotlib's settings for files: texts stay texts, nothing depends on the time."""
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "raysafe", "path.simplify": True}):
        yield


def save(plot: Plot, folder: Path) -> str:
    """Write PNG and SVG; returns the SVG as the page holds it."""
    with quiet_settings():
        plot.figure.savefig(folder / f"{plot.name}.png", dpi=2 * _DPI, facecolor="white")
        text = io.StringIO()
        plot.figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    (folder / f"{plot.name}.svg").write_text(svg, encoding="utf-8")
    return inline(svg, plot)


def inline(svg: str, plot: Plot) -> str:
    """An SVG file as part of a page: ids of its own, colours by variable, its alternative text, its points' tips."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{plot.name}-\1"', svg)
    svg = re.sub(r'(xlink:href="|url\()#', rf"\1#{plot.name}-", svg)
    for colour, name in VARIABLES.items():
        svg = re.sub(rf"(?<=[ :\"]){colour}\b", f"var(--{name})", svg, flags=re.IGNORECASE)
    svg = re.sub(
        r"font: (bold |700 )?([\d.]+)px [^;\"]*", lambda m: f"font-size: {m[2]}px" + ("; font-weight: 600" if m[1] else ""), svg
    )
    for group, tips in plot.tips.items():
        svg = _with_tips(svg, f'<g id="{plot.name}-{group}">', tips)
    view = re.search(r'viewBox="[^"]*"', svg)
    space = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
    head = f'<svg {view[0] if view else ""} {space} role="img"><title>{html.escape(plot.alt)}</title>'
    return re.sub(r"<svg[^>]*>", lambda _: head, svg, count=1)


def _with_tips(svg: str, head: str, tips: Sequence[str]) -> str:
    """The group's points, each with its text."""
    before, found, rest = svg.partition(head)
    texts = iter(tips)

    def told(match: re.Match[str]) -> str:
        tip = next(texts, None)
        return match[0] if tip is None else f"{match[1]}><title>{html.escape(tip)}</title></use>"

    return before + found + re.sub(r"(<use [^>]*?)/>", told, rest, count=len(tips)) if found else svg
