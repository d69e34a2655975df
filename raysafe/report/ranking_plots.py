"""Pictures of rankings. Colours can be told apart by colour-blind readers (Okabe and Ito's), and lines by their style too.

matplotlib is imported when something is drawn; figures are made without pyplot, so that a thread may draw.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from raysafe.artifacts import whole
from raysafe.report.agreement import Agreement, SweepRanking, matrix

LABELS = {"safe": ("#0072B2", "-"), "unsafe": ("#D55E00", "--"), "planted": ("#000000", ":"), "unlabelled": ("#009E73", "-")}
"""Colour and style of a line by its rows' label."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLES = ("-", "--", ":")
MOST_PANELS = 12
MOST_DRAWN_GROUPS = len(COLOURS) * len(STYLES)
MOST_NAMES = 40
"""Rankings in one heat map."""
MOST_NUMBERS = 12
"""Up to so many rankings each cell of a heat map has its number."""
GREY = "#9e9e9e"


def draw_scores(path: Path, rankings: Sequence[SweepRanking]) -> None:
    """Score distribution by label, a panel a ranking, as the share of rows of at most a score."""
    shown = rankings[:MOST_PANELS]
    columns = min(3, len(shown))
    lines = math.ceil(len(shown) / columns)
    figure = _figure(4.2 * columns, 3.1 * lines + 0.9)
    panels = figure.subplots(lines, columns, squeeze=False)
    for panel, ranking in zip(panels.flat, shown, strict=False):
        _scores_panel(panel, ranking)
        panel.set_title(ranking.name, fontsize=10)
    for panel in panels.flat[len(shown) :]:
        panel.set_visible(False)
    rest = f" (the first {len(shown)} of {len(rankings)})" if len(shown) < len(rankings) else ""
    figure.suptitle(f"Scores by label{rest}: the further right, the sooner kept")
    _label_legend(figure, panels.flat[: len(shown)])
    _save(figure, path)


def draw_shares(path: Path, rankings: Sequence[SweepRanking]) -> None:
    """Unsafe share among the kept rows and, where rows were planted, their recall, over p; seeds share a colour."""
    styles = _group_styles(rankings)
    sides = [side for side in (_unsafe_panel, _recall_panel) if any(_known(side, ranking) for ranking in rankings)]
    if not sides:
        path.unlink(missing_ok=True)  # neither labels nor planted rows: nothing to draw
        return
    figure = _figure(5.2 * len(sides) + 2.6, 4.4)
    panels = figure.subplots(1, len(sides), squeeze=False)[0]
    for panel, side in zip(panels, sides, strict=True):
        for ranking in rankings:
            if (group := _group(ranking)) in styles:
                side(panel, ranking, **styles[group])
        _percent_axis(panel)
    rest = f" (the first {len(styles)} settings)" if len(styles) == MOST_DRAWN_GROUPS else ""
    figure.suptitle(f"What the top p % lets in{rest}")
    handles = {line.get_label(): line for panel in panels for line in panel.get_lines() if line.get_label()[0] != "_"}
    figure.legend(handles.values(), handles.keys(), loc="outside right upper", fontsize=9, frameon=False)
    _save(figure, path)


def draw_overlap(path: Path, rankings: Sequence[SweepRanking], pairs: Sequence[Agreement]) -> None:
    """Heat maps of rank correlation and of the overlap at the sweep's first two p's, rankings of the same data side by side."""
    compared = [ranking for ranking in rankings if any(ranking.name in (pair.first, pair.second) for pair in pairs)]
    data = list(dict.fromkeys(ranking.tensors.fingerprint for ranking in compared))
    names = [ranking.name for ranking in sorted(compared, key=lambda ranking: data.index(ranking.tensors.fingerprint))]
    shown = names[:MOST_NAMES]
    maps: dict[str, Callable[[Agreement], float | None]] = {"Rank correlation (Spearman)": lambda pair: pair.spearman}
    for percent in list(pairs[0].jaccard)[:2]:
        maps[f"Kept rows at p = {percent} % (Jaccard)"] = lambda pair, percent=percent: pair.jaccard[percent]  # type: ignore[misc]
    side = 0.42 * len(shown) + 1.0 if len(shown) <= MOST_NUMBERS else 0.2 * len(shown) + 3.0
    side = max(3.4, side)
    figure = _figure((side + 0.9) * len(maps) + 2.2, side + 2.3)
    panels = figure.subplots(1, len(maps), squeeze=False, sharey=True)[0]
    for panel, (title, value) in zip(panels, maps.items(), strict=True):
        known = {(p.first, p.second): value(p) for p in pairs if p.first in shown and p.second in shown}
        _heat_map(figure, panel, shown, known, signed="Spearman" in title)
        panel.set_title(title, fontsize=10)
    panels[0].set_yticks(range(len(shown)), shown, fontsize=8)
    rest = f", the first {len(shown)} of {len(names)}" if len(shown) < len(names) else ""
    figure.suptitle(f"Agreement of rankings of the same data{rest} (grey: not defined, or other data)")
    _save(figure, path)


def draw_single(path: Path, ranking: SweepRanking) -> None:
    """One ranking: its scores by label, and what the top p % lets in."""
    figure = _figure(9.6, 4.4)
    left, right = figure.subplots(1, 2)
    _scores_panel(left, ranking)
    left.set_title("Scores by label", fontsize=10)
    left.legend(fontsize=9, frameon=False)
    unsafe = {"label": "unsafe share among the kept rows", "chance": "unsafe share among all rows"}
    recall = {"label": "planted rows left out", "chance": "left out by a random ranking"}
    _unsafe_panel(right, ranking, color="#D55E00", linestyle="-", marker="o", **unsafe)
    _recall_panel(right, ranking, color="#000000", linestyle=":", marker="^", **recall)
    _percent_axis(right)
    right.set_ylabel("share")
    right.set_title("What the top p % lets in", fontsize=10)
    if right.get_lines():
        right.legend(fontsize=9, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    figure.suptitle(ranking.name)
    _save(figure, path)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def _save(figure: Any, path: Path) -> None:
    with whole(path) as aside:
        figure.savefig(aside)


def _scores_panel(panel: Any, ranking: SweepRanking) -> None:
    scored = ranking.tensors
    for label, mask_N in label_masks(ranking).items():
        scores = scored.scores_N[mask_N & scored.usable_N]
        scores = scores[scores.isfinite()].sort().values
        if len(scores):
            share = torch.arange(len(scores) + 1) / len(scores)
            colour, style = LABELS[label]
            name = f"{label} ({len(scores)})"
            steps = torch.cat([scores[:1], scores])  # the line rises from 0
            panel.step(steps.numpy(), share.numpy(), color=colour, linestyle=style, linewidth=1.8, where="post", label=name)
    panel.set(xlabel="score", ylabel="share of rows up to it", ylim=(-0.02, 1.02))
    panel.grid(alpha=0.3)
    panel.locator_params(axis="x", nbins=5)
    finite = scored.scores_N[scored.own_N]
    if len(finite) and float(finite.min()) == float(finite.max()):
        panel.text(0.5, 0.5, "all scores are equal", transform=panel.transAxes, ha="center", color="#555555")


def label_masks(ranking: SweepRanking) -> dict[str, Any]:
    """Label to the rows that have it; `unlabelled` where D's labels are not all known."""
    scored = ranking.tensors
    own_N = ~scored.planted_N
    if scored.unsafe_N is None:
        return {"unlabelled": own_N, "planted": scored.planted_N}
    return {"safe": own_N & ~scored.unsafe_N, "unsafe": own_N & scored.unsafe_N, "planted": scored.planted_N}


def _label_legend(figure: Any, panels: Sequence[Any]) -> None:
    """One legend for all panels, without the counts that may differ."""
    handles = {line.get_label().partition(" (")[0]: line for panel in panels for line in panel.get_lines()}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False)


def _unsafe_panel(panel: Any, ranking: SweepRanking, chance: str = "_all", **style: Any) -> None:
    diagnosis = ranking.diagnosis
    _line(panel, diagnosis.unsafe_share, style)
    if diagnosis.unsafe_rows is not None and diagnosis.rows:
        panel.axhline(diagnosis.unsafe_rows / diagnosis.rows, color="#888888", linewidth=1, linestyle=(0, (1, 3)), label=chance)
    panel.set_ylabel("unsafe share among the kept rows\n(dotted: among all)")


def _recall_panel(panel: Any, ranking: SweepRanking, chance: str = "_random", **style: Any) -> None:
    diagnosis = ranking.diagnosis
    _line(panel, diagnosis.planted_recall, style)
    if diagnosis.planted_recall:
        panel.plot([0, 100], [1, 0], color="#888888", linewidth=1, linestyle=(0, (5, 4)), label=chance)
        panel.set_ylabel("planted rows left out\n(dashes: by a random ranking)")


def _known(side: Callable[..., None], ranking: SweepRanking) -> bool:
    return bool(ranking.diagnosis.unsafe_share if side is _unsafe_panel else ranking.diagnosis.planted_recall)


def _line(panel: Any, values: Mapping[str, float | None], style: Mapping[str, Any]) -> None:
    points = sorted((float(percent), value) for percent, value in values.items() if value is not None)
    if points:
        panel.plot(*zip(*points, strict=True), linewidth=1.4, markersize=6, markerfacecolor="none", **style)


def _percent_axis(panel: Any) -> None:
    panel.set(xlabel="p: kept share of the data in %", xlim=(0, 100))
    panel.set_ylim(min(-0.02, panel.get_ylim()[0]), None)
    panel.grid(alpha=0.3)


def _group(ranking: SweepRanking) -> str:
    """The name without the seed."""
    return " ".join(part for part in ranking.name.split(" ") if not part.startswith("seed=") and not part.startswith("("))


def _group_styles(rankings: Sequence[SweepRanking]) -> dict[str, dict[str, Any]]:
    groups = list(dict.fromkeys(map(_group, rankings)))[:MOST_DRAWN_GROUPS]
    styles = {}
    for place, group in enumerate(groups):
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(COLOURS)]
        styles[group] = {"color": colour, "linestyle": STYLES[place // len(COLOURS)], "marker": marker, "label": group}
    return styles


def _heat_map(figure: Any, panel: Any, names: Sequence[str], known: Mapping[tuple[str, str], float | None], signed: bool) -> None:
    from matplotlib import colormaps

    values = matrix(names, known, 1.0)
    colours = colormaps["PuOr" if signed else "viridis"].with_extremes(bad=GREY)
    image = panel.imshow(values.numpy(), cmap=colours, vmin=-1 if signed else 0, vmax=1)
    figure.colorbar(image, ax=panel, shrink=0.8)
    panel.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    if len(names) > MOST_NUMBERS:
        return
    for row, line in enumerate(values.tolist()):
        for column, value in enumerate(line):
            dark = abs(value) > 0.7 if signed else value < 0.5
            if not math.isnan(value):
                panel.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color="white" if dark else "black")
