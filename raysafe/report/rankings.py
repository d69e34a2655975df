"""The rankings of a sweep beside each other: `STORAGE/NAME/rankings/`, from what its trials left on disk."""

import csv
import hashlib
import io
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from raysafe.artifacts import write_text
from raysafe.config.defaults import dotted
from raysafe.ranking.diagnosis import PERCENTS, RankingTensors, diagnose
from raysafe.ranking.tables import Ranking
from raysafe.report.agreement import Agreement, SweepRanking, agreements
from raysafe.report.naming import short_names
from raysafe.report.ranking_plots import draw_overlap, draw_scores, draw_shares, draw_single
from raysafe.report.summary import cell
from raysafe.report.sweep_file import read_written
from raysafe.selection import SELECTORS

FOLDER = "rankings"
USUAL_PERCENT = 80.0
MOST_COMPARED = 100
"""Rankings that are compared pair by pair, in order; five hundred would be 124,750 pairs."""
MOST_PICTURES = 60
"""Rankings that get a picture of their own."""
_DECIDES = re.compile(
    r"selector\.|seed$|model\.|sandbox\.|tricks\.|selection\.model\.|data\.(finetune|safe|plant|max_length)$"
    r"|training\.(clip|zero_stage|precision|batching|gradient_checkpointing)$"
)
"""Settings that a ranking may depend on."""
WORLD_SEEDS = ("sandbox.seed", "tricks.seed")
SAME_DATA_ONLY = (
    "Rankings are compared only where they ranked the same rows. In the sandbox and the tricks every seed is a world, and so "
    "a data set, of its own unless `sandbox.seed` or `tricks.seed` is given."
)


@dataclass(frozen=True)
class SweepRankings:
    """All rankings of a sweep's folder."""

    folder: Path
    rankings: tuple[SweepRanking, ...]

    @property
    def percents(self) -> tuple[float, ...]:
        """The p's of the sweep, in %, or the usual one where all trials keep everything."""
        found = sorted({percent for ranking in self.rankings for percent in ranking.percents})
        return tuple(found) or (USUAL_PERCENT,)

    @cached_property
    def agreements(self) -> list[Agreement]:
        """Of every pair of rankings of the same data, as far as they are compared."""
        compared = self.rankings[:MOST_COMPARED]
        named = [(ranking.name, ranking.maker, ranking.shown, ranking.tensors) for ranking in compared]
        return agreements(named, self.percents)

    @property
    def warnings(self) -> list[str]:
        """What is wrong with single rankings, each by its name."""
        return [f"{ranking.name}: {text}" for ranking in self.rankings for text in ranking.diagnosis.warnings]

    @property
    def notes(self) -> list[str]:
        """What a reader must know of the comparison."""
        data = len({ranking.tensors.fingerprint for ranking in self.rankings})
        pairs = len(self.rankings) * (len(self.rankings) - 1) // 2
        if len(self.rankings) == 1:
            return ["The sweep has one ranking: there is nothing to compare it with."]
        few = [f"Only the first {MOST_COMPARED} of {len(self.rankings)} rankings are compared."] if self._more else []
        if data == 1:
            return few
        counted = f"{len(self.rankings)} rankings of {data} data sets: {len(self.agreements)} of {pairs} pairs are comparable."
        return [*few, counted, SAME_DATA_ONLY]

    @property
    def _more(self) -> bool:
        """Whether there are more than are compared."""
        return len(self.rankings) > MOST_COMPARED


def read_rankings(folder: Path) -> SweepRankings:
    """The distinct rankings behind the selections that a sweep's trials left. Raises DataError if a file is broken."""
    found: dict[Any, dict[str, Any]] = {}
    for path in sorted((folder / "trials").glob("*/selection.parquet")):
        config, ranking = read_written(path.parent / "config.yaml"), Ranking.load(path)
        settings = _deciding(config)
        key = (_digest(ranking), *sorted((name, repr(value)) for name, value in settings.items()))
        entry = found.setdefault(key, {"ranking": ranking, "settings": settings, "trials": [], "percents": set()})
        entry["trials"].append(path.parent.name)
        entry["percents"].add(_percent(config))
    shown = differing([entry["settings"] for entry in found.values()])
    rankings = [_ranking(entry, shown) for entry in found.values()]
    rankings.sort(key=lambda ranking: [_order(ranking.settings.get(name)) for name in ("selector.name", *shown)])
    return SweepRankings(folder, tuple(_with_own_names(rankings)))


def write_rankings(report: SweepRankings) -> dict[str, Path]:
    """Write tables and pictures, each whole; returns the picture of the ranking of each trial, as far as rankings have one.
    Without a ranking, nothing."""
    if not report.rankings:
        return {}
    folder = report.folder / FOLDER
    write_text(folder / "rankings.csv", _csv(ranking_rows(report)))
    write_text(folder / "rankings.md", markdown(report))
    draw_scores(folder / "scores.png", report.rankings)
    draw_shares(folder / "shares.png", report.rankings)
    compared = bool(report.agreements)
    for name in ("overlap.csv", "overlap.png"):
        (folder / name).unlink(missing_ok=True)  # of an earlier report, when there was something to compare
    if compared:
        write_text(folder / "overlap.csv", _csv(agreement.row() for agreement in report.agreements))
        draw_overlap(folder / "overlap.png", report.rankings, report.agreements)
    shown = report.rankings[:MOST_PICTURES]
    pictures = {ranking.name: folder / "each" / f"{ranking.slug}.png" for ranking in shown}
    for ranking in shown:
        draw_single(pictures[ranking.name], ranking)
    return {trial: pictures[ranking.name] for ranking in shown for trial in ranking.trials}


def ranking_rows(report: SweepRankings) -> list[dict[str, Any]]:
    """The lines of `rankings.csv`."""
    names = list(dict.fromkeys(name for ranking in report.rankings for name in ranking.shown))
    rows = []
    for ranking in report.rankings:
        diagnosis, shown = ranking.diagnosis, {name: ranking.shown.get(name) for name in names}
        row = {"ranking": ranking.name, **shown, "data_fingerprint": diagnosis.fingerprint, "rows": diagnosis.rows}
        row |= {"dropped": sum(diagnosis.dropped.values()), "unsafe_rows": diagnosis.unsafe_rows, "auc": diagnosis.auc}
        row |= {f"unsafe_share_{percent}": diagnosis.unsafe_share.get(percent) for percent in _columns(report)}
        row |= {"planted": diagnosis.planted}
        row |= {f"planted_recall_{percent}": diagnosis.planted_recall.get(percent) for percent in _columns(report)}
        rows.append({**row, "trials": " ".join(ranking.trials)})
    return rows


def _columns(report: SweepRankings) -> list[str]:
    return [f"{percent:g}" for percent in sorted({*PERCENTS, *report.percents})]


def markdown(report: SweepRankings) -> str:
    """`rankings.md`: the tables at the sweep's p, with the pictures."""
    at = [f"{percent:g}" for percent in report.percents]
    head = ["ranking", "rows", "AUC", *(f"unsafe at {p} %" for p in at), *(f"planted found at {p} %" for p in at)]
    lines = [head, ["---", *("---:" for _ in head[1:])]]
    for ranking in report.rankings:
        diagnosis = ranking.diagnosis
        shares = [diagnosis.unsafe_share.get(p) for p in at] + [diagnosis.planted_recall.get(p) for p in at]
        lines.append([ranking.name, str(diagnosis.rows), *(_number(value) for value in (diagnosis.auc, *shares))])
    parts = [f"# Rankings of {report.folder.absolute().name}", _table(lines)]
    if report.agreements:
        first, *rest = agreement_lines(report)
        parts += ["## Agreement by what differs", _table([first, ["---", "---", *("---:" for _ in first[2:])], *rest])]
    parts += [*(f"**Warning.** {text}" for text in report.warnings), *report.notes]
    pictures = ["scores", "shares", *(["overlap"] if report.agreements else [])]
    return "\n\n".join([*parts, *(f"![{name}]({name}.png)" for name in pictures)]) + "\n"


def agreement_lines(report: SweepRankings) -> list[list[str]]:
    """Mean (and least) agreement of the pairs of the same selectors that differ in the same settings, a head line first."""
    at = [f"{percent:g}" for percent in report.percents]
    lines = [["selectors", "differ in", "pairs", "Spearman, mean", "least", *(f"Jaccard at {p} %, mean" for p in at)]]
    for kind in dict.fromkeys(_kind(pair) for pair in report.agreements):
        pairs = [pair for pair in report.agreements if _kind(pair) == kind]
        known = [pair.spearman for pair in pairs if pair.spearman is not None]
        values = [_mean(known), min(known, default=None), *(_mean([pair.jaccard[p] for pair in pairs]) for p in at)]
        lines.append([*kind, str(len(pairs)), *map(_number, values)])
    return lines


def _kind(pair: Agreement) -> tuple[str, str]:
    settings = [name for name in pair.differ if name != "selector.name"]
    return " and ".join(sorted(pair.makers)), ", ".join(short_names(settings).values())


def differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of more than one value among those that have them, seeds last; a world's only where it isn't the trial's."""
    names = dict.fromkeys(name for one in settings for name in one)
    shown = [name for name in names if len({repr(one[name]) for one in settings if name in one}) > 1]
    own = {name for name in WORLD_SEEDS if all(one.get(name) == one.get("seed") for one in settings)}
    shown = [name for name in shown if name not in own]
    return sorted(shown, key=lambda name: name.endswith("seed"))


def _deciding(config: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the ranking: the settings of a ranking that was made, or the file that stood in for it."""
    if file := config.get("selection", {}).get("file"):
        return {"selection.file": file}
    ranking = config.get("ranking_seed")
    seed = {} if ranking is None else {"seed": ranking}
    return {name: value for name, value in dotted({**config, **seed}).items() if _DECIDES.match(name)}


def _percent(config: Mapping[str, Any]) -> float:
    given, selector = config.get("selection", {}).get("percent"), SELECTORS.get(config.get("selector", {}).get("name"))
    return float(given) if given is not None else 100.0 if selector is not None and selector.keeps_all else USUAL_PERCENT


def _digest(ranking: Ranking) -> str:
    return hashlib.sha256(repr((ranking.fingerprint, ranking.scores, ranking.planted)).encode()).hexdigest()


def _ranking(entry: Mapping[str, Any], names: Sequence[str]) -> SweepRanking:
    ranking, percents = entry["ranking"], tuple(sorted(percent for percent in entry["percents"] if percent < 100))
    settings = entry["settings"]
    shown = {name: settings[name] for name in names if name in settings}
    first = str(settings.get("selector.name") or Path(settings.get("selection.file", entry["trials"][0])).stem)
    short = short_names([name for name in shown if name not in ("selector.name", "selection.file")])
    name = " ".join([first, *(f"{text}={shown[key]}" for key, text in short.items())])
    diagnosis = diagnose(ranking, percents=sorted({*PERCENTS, *percents, USUAL_PERCENT}))
    return SweepRanking(name, first, settings, shown, tuple(entry["trials"]), percents, RankingTensors.of(ranking), diagnosis)


def _order(value: Any) -> tuple[bool, float, str]:
    """Numbers by size, then texts."""
    number = isinstance(value, int | float)
    return not number, float(value) if number else 0.0, str(value)


def _with_own_names(rankings: Sequence[SweepRanking]) -> Iterable[SweepRanking]:
    """Equal names, as of two worlds that no setting tells apart, get a number."""
    names = [ranking.name for ranking in rankings]
    for place, ranking in enumerate(rankings):
        again = names[:place].count(ranking.name)
        yield replace(ranking, name=f"{ranking.name} ({again + 1})") if names.count(ranking.name) > 1 else ranking


def _csv(rows: Iterable[Mapping[str, Any]]) -> str:
    first, *rest = rows
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(first)
    for row in itertools.chain([first], rest):
        writer.writerow([cell(value) for value in row.values()])
    return text.getvalue()


def _table(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(text.replace('|', '/') for text in line)} |" for line in lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
