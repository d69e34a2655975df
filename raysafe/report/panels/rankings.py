"""What was selected: scores by label and by source, what the top p % lets in, and how far selections overlap."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from raysafe.report.data import RankStage
from raysafe.report.drawing import COLOURS, INK, MUTED, PAPER, Canvas, Plot, canvas, label, note, series_style, small
from raysafe.report.panels.base import Absent, Subject, rate_axis, text_on

if TYPE_CHECKING:
    from raysafe.report.agreement import SweepRanking

MOST_RANKINGS = 6
"""Rankings that have pictures of their own."""
MOST_COMPARED = 40
"""Selections in one map of overlaps."""
MOST_NUMBERS = 10
MOST_SOURCES = 8
_SIDE = 280
"""CSS pixels of a map of overlaps."""
CURVE_POINTS = 150
LABELS = {"safe": (COLOURS[0], "-"), "unsafe": (COLOURS[1], "--"), "planted": (INK, ":"), "unlabelled": (COLOURS[2], "-")}


def scores(subject: Subject) -> list[Plot]:
    """A picture a ranking: the share of rows up to a score, a line a label."""
    rankings = _rankings(subject)
    plots = [_scores(ranking, place) for place, ranking in enumerate(_of_one_seed(rankings))]
    if len(plots) < len(rankings):
        note(plots[-1].figure, f"{len(plots)} of {len(rankings)} rankings")
    return plots


def _of_one_seed(rankings: Sequence["SweepRanking"]) -> list["SweepRanking"]:
    """As many as have pictures of their own, those of the first seed before others."""
    return sorted(rankings, key=lambda ranking: ranking.settings.get("seed") or 0)[:MOST_RANKINGS]


def _rankings(subject: Subject) -> Sequence["SweepRanking"]:
    if subject.data.rankings is None or not subject.data.rankings.rankings:
        raise Absent("no trial has a selection yet")
    return subject.data.rankings.rankings


def _scores(ranking: "SweepRanking", place: int) -> Plot:
    from raysafe.report.ranking_plots import label_masks

    tensors = ranking.tensors
    known_N = tensors.usable_N & tensors.scores_N.isfinite()
    sorted_by_kind = {kind: tensors.scores_N[mask & known_N].sort().values for kind, mask in label_masks(ranking).items()}
    found = {kind: values.tolist() for kind, values in sorted_by_kind.items() if len(values)}
    styles = {kind: {"color": LABELS[kind][0], "linestyle": LABELS[kind][1]} for kind in found}
    legend = [(f"{kind} ({len(values)})", styles[kind]) for kind, values in found.items()]
    known = "" if ranking.diagnosis.auc is None else f", AUC {ranking.diagnosis.auc:.3f}"
    picture = canvas(f"{_short(ranking.name, 34)}{known}", x="score", y="share of rows up to it", legend=legend)
    for kind, values in found.items():
        picture.axes.step(*_distribution(values), where="post", linewidth=1.6, **styles[kind])
    rate_axis(picture.axes, [0.0, 1.0])
    picture.axes.locator_params(axis="x", nbins=5)
    return picture.named(f"scores-{place}")


def _distribution(values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Scores and the share of rows up to each, at no more places than an eye can see."""
    count = len(values)
    places = sorted({min(count - 1, int(place * (count - 1) / (CURVE_POINTS - 1))) for place in range(CURVE_POINTS)})
    return [values[0], *(values[place] for place in places)], [0.0, *((place + 1) / count for place in places)]


def sources(subject: Subject) -> list[Plot]:
    """A picture a ranking: where the scores of each source lie, 5 to 95 % thin, 25 to 75 % thick."""
    known = [stage for stage in subject.data.rank_stages if len(_groups(stage)) > 1]
    if not known:
        raise Absent("all rows are of one source and kind, or the rankings' diagnostics are gone")
    known = sorted(known, key=lambda stage: stage.settings.get("seed") or 0)
    return [_sources(stage, place) for place, stage in enumerate(known[:MOST_RANKINGS])]


def _groups(stage: RankStage) -> Mapping[str, Mapping[str, float]]:
    """Quantiles by source and kind."""
    groups: dict[str, Mapping[str, float]] = {}
    for by in ("source", "kind"):
        found = {name: one for name, one in stage.scores.get(by, {}).items() if one}
        groups |= dict(list(found.items())[:MOST_SOURCES]) if len(found) > 1 else {}
    return groups


def _sources(stage: RankStage, place: int) -> Plot:
    groups = _groups(stage)
    picture = canvas(_short(stage.name, 44), x="score", height=80 + 30 * len(groups))
    for line, (name, one) in enumerate(reversed(list(groups.items()))):
        picture.axes.plot([one["q5"], one["q95"]], [line, line], color=COLOURS[0], linewidth=1.2)
        picture.axes.plot([one["q25"], one["q75"]], [line, line], color=COLOURS[0], linewidth=5, alpha=0.5, solid_capstyle="butt")
        tips = [f"{name}: median {one['q50']:.3g}, {one['count']:.0f} rows"]
        picture.points([one["q50"]], [line], tips, color=COLOURS[1], s=22)
        text = f"{_short(name, 40)} ({one['count']:.0f})"
        label(picture.axes, 0.0, line + 0.42, text, transform=picture.axes.get_yaxis_transform())
    picture.axes.set_yticks([])
    picture.axes.set_ylim(-0.5, len(groups) - 0.25)
    picture.axes.grid(axis="y", visible=False)
    return picture.named(f"sources-{place}")


def shares(subject: Subject) -> list[Plot]:
    """Unsafe share among the kept rows over p, a line a ranking."""
    known = [ranking for ranking in _rankings(subject) if ranking.diagnosis.unsafe_share]
    if not known:
        raise Absent("the rows of D have no labels")
    shown = _of_one_seed(known)
    legend = [(_short(ranking.name, 30), series_style(place)) for place, ranking in enumerate(shown)]
    picture = canvas("Unsafe rows among the kept", x="p: kept share of D (%)", y="unsafe share", legend=legend)
    reached = [0.0]
    for place, ranking in enumerate(shown):
        values = {float(p): share for p, share in ranking.diagnosis.unsafe_share.items() if share is not None}
        at, style = sorted(values), series_style(place)
        picture.axes.plot(at, [values[p] for p in at], color=style["color"], linestyle=style["linestyle"], linewidth=1.4)
        tips = [f"{ranking.name}\np = {p:g} %: {values[p]:.3f}" for p in at]
        picture.points(at, [values[p] for p in at], tips, color=style["color"], marker=style["marker"], s=18)
        reached += values.values()
    if len(shown) < len(known):
        note(picture.figure, f"{len(shown)} of {len(known)}")
    rate_axis(picture.axes, reached)
    return [picture.named("unsafe-kept")]


def overlap(subject: Subject) -> list[Plot]:
    """Maps of the rows that selections have in common (Jaccard), and of how far rankings agree (Spearman)."""
    rankings = _rankings(subject)
    chosen = [(ranking, percent) for ranking in rankings for percent in ranking.percents]
    if len(chosen) < 2:
        raise Absent("there is one selection: nothing to compare it with")
    shown = chosen[:MOST_COMPARED]
    several = len({percent for _, percent in chosen}) > 1
    names = [f"{ranking.name} p={percent:g}" if several else ranking.name for ranking, percent in shown]
    masks = [ranking.tensors.kept_N(percent)[~ranking.tensors.planted_N] for ranking, percent in shown]
    data = [ranking.tensors.fingerprint for ranking, _ in shown]
    values = [
        [_jaccard(masks[i], masks[j]) if data[i] == data[j] else math.nan for j in range(len(shown))] for i in range(len(shown))
    ]
    return [_map("Kept rows in common (Jaccard)", names, values, len(chosen)).named("overlap-kept"), *_correlations(rankings)]


def _jaccard(one: Any, other: Any) -> float:
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else math.nan


def _correlations(rankings: Sequence["SweepRanking"]) -> list[Plot]:
    from raysafe.report.agreement import agreements, matrix

    shown = rankings[:MOST_COMPARED]
    if len(shown) < 2:
        return []
    pairs = agreements([(one.name, one.maker, one.shown, one.tensors) for one in shown], ())
    names = [one.name for one in shown]
    values = matrix(names, {(pair.first, pair.second): pair.spearman for pair in pairs}, 1.0).tolist()
    return [_map("Rank correlation (Spearman)", names, values, len(rankings)).named("overlap-ranks")]


def _map(title: str, names: Sequence[str], values: Sequence[Sequence[float]], count: int) -> Canvas:
    """Numbers stand for names, which the lines below the map give in full. Correlations begin at -1."""
    from matplotlib import colormaps

    few, least = len(names) <= MOST_NUMBERS, -1.0 if "Spearman" in title else 0.0
    below = 18 + 15 * (len(names) if few else 1)
    picture = canvas(title, height=_SIDE + 34 + below)
    axes, figure = picture.axes, picture.figure
    width, height = figure.get_size_inches() * 96
    axes.set_position((34 / width, (below + 4) / height, _SIDE / width, _SIDE / height))
    axes.pcolormesh(values, cmap=colormaps["viridis"], vmin=least, vmax=1, edgecolors=PAPER, linewidth=1.2 if few else 0.2)
    axes.invert_yaxis()
    axes.grid(visible=False)
    places = range(0, len(names), 1 if few else 5)
    for ticks in (axes.set_xticks, axes.set_yticks):
        ticks([place + 0.5 for place in places], [str(place + 1) for place in places])
    for row, line in enumerate(values if few else []):
        for column, value in enumerate(line):
            if not math.isnan(value):
                text = f"{value:.2f}".replace("0.", ".")
                small(axes, column + 0.5, row + 0.5, text, color=text_on((value - least) / (1 - least)), fontsize=7.5)
    lines = [f"{place}  {_short(name, 52)}" for place, name in enumerate(names, 1)] if few else []
    first = f"The first {len(names)} of {count}, as" if len(names) < count else "As"
    lines = lines or [f"{first} in rankings/rankings.csv{'' if 'Spearman' in title else ', p by p'}"]
    for place, text in enumerate(lines):
        figure.text(34 / width, (15 * (len(lines) - place) - 9) / height, text, fontsize=7.5, color=MUTED, va="center")
    return picture


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
