"""The figures of a trial: one list, which `summary.csv`, tables, means over seeds, the live table and the tracker read.

A new figure is one line in `FIGURES`, and stands wherever trials are told; it stays empty where a trial has no such value.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Source = Literal["scores", "result", "record"]
"""Where a trial's value comes from, under the figure's name: a rate of its evaluation (after an epoch, too), an attribute of its
`TrialResult`, or what the sweep itself keeps of it (epochs, seconds)."""
Unit = Literal["share", "nats", "steps", "rows", "epochs", "s", "text"]
"""`share`: 0 to 1; `nats`: a difference of log-probabilities, unbounded; `steps`: 0 or more, and beyond its value
(or an end of its interval) where NAME_censored is 1."""
Average = Literal["interval", "mean"]
"""Over seeds: a mean with its 95 % t-interval, or a mean alone; a text has none."""
STAYS = 99
STAGE_KINDS = ("sandbox", "alignment", "rank", "log_probs", "train", "answers", "verdicts", "readings")
"""What a trial's seconds are told by."""


@dataclass(frozen=True)
class Figure:
    """`name`: its column in `summary.csv`; `title`: its column in tables, if it has one, and `live` that while the sweep runs.

    keep: where a terminal has no room, columns go in this order, the smallest first. main: always told with its interval,
    and its highest value set off. metric: what a tracker calls it, where it isn't by its source (`tracked`).
    """

    name: str
    title: str = ""
    source: Source = "scores"
    unit: Unit = "share"
    average: Average = "mean"
    keep: int = 0
    main: bool = False
    live: str = ""
    metric: str = ""

    def text(self, value: Any) -> str:
        """A value as it stands in a table."""
        if self.unit in ("share", "nats"):
            return f"{value:.2f}"
        if self.unit == "steps":
            return f"{value:.1f}"
        return value if self.unit == "text" else f"{value:.6g}"

    def cell(self, values: Mapping[str, Any], interval: bool = True) -> str:
        """Its value among a trial's, with the interval where there is one: `0.52 [.45, .59]`; empty where it isn't known."""
        value = values.get(self.name)
        if value is None:
            return ""
        ends = {end: values.get(f"{self.name}_{end}") for end in ("low", "high")}
        text = self._beyond(values) + self.text(value)
        if None in ends.values() or not interval:
            return text
        shown = [self._beyond(values, f"_{end}") + self.text(at).removeprefix("0") for end, at in ends.items()]
        return f"{text} [{', '.join(shown)}]"

    def _beyond(self, values: Mapping[str, Any], end: str = "") -> str:
        """`>` before a number that is only known to be larger."""
        return ">" if self.unit == "steps" and values.get(f"{self.name}_censored{end}") else ""


FIGURES: list[Figure] = [
    Figure("win_rate", "win rate", average="interval", keep=STAYS, main=True, live="win rate"),
    Figure("safety_score", "safety score", average="interval", keep=STAYS, main=True, live="safety"),
    Figure("asr_direct", "ASR direct", average="interval", keep=8),
    Figure("asr_prefill", "ASR prefill", average="interval", keep=7),
    Figure("over_refusal", "over-refusal", average="interval", keep=4),
    Figure("over_refusal_partial", average="interval"),
    Figure("unsafe_refused", "unsafe refused", average="interval", keep=4),
    Figure("coherence", "coherence", average="interval", keep=1),
    Figure("no_verdict", average="interval"),
    Figure("utility", "utility", average="interval", keep=6),
    Figure("new_tasks", "new tasks", average="interval", keep=3),
    Figure("win_rate_lc", "win rate LC", average="interval", keep=2),
    Figure("refusal_margin", "refusal margin", unit="nats", average="interval", keep=5),
    Figure("kl_depth", "KL from base", unit="nats", average="interval", keep=1),
    Figure("relearn_steps", "relearn steps", unit="steps", average="interval", keep=7),
    Figure("relearn_steps_censored", average="interval"),
    Figure("selected_rows", source="result", unit="rows"),
    Figure("unsafe_selected", "unsafe kept", source="result", keep=5),
    Figure("ranking_auc", "ranking AUC", source="result", keep=2),
    Figure("planted_recall", "planted found", source="result", keep=1),
    Figure("safeinstr_rows", source="result", unit="rows"),
    Figure("dropped_rows", "rows dropped", source="result", unit="rows", keep=STAYS),
    Figure("batching", source="result", unit="text"),
    Figure("evaluation", source="result", unit="text"),
    Figure("epochs", source="record", unit="epochs"),
    Figure("wall_s", source="record", unit="s", metric="seconds/wall"),
    *(Figure(f"seconds_{kind}", source="record", unit="s", metric=f"seconds/{kind}") for kind in STAGE_KINDS),
    Figure("seconds_saved", source="record", unit="s", metric="seconds/saved"),
    Figure("same_as", source="record", unit="text"),
]
"""In the order of columns, but that `summary.csv` has those of `scores` first. Other attacks' rates follow the listed ones, and
a harness's tasks the utility."""
_ATTACK = re.compile(r"asr_(?!.*_(low|high|n|\d+)$)")
"""Not an interval's end or n, and not a variant such as `asr_prefill_5`."""
_TASK = re.compile(r"utility_(?!(.*_)?(low|high|n)$)")
_VARIANT = re.compile(r"(_\d+)?(_low|_high)?$")


def listed(trials: Iterable[Mapping[str, Any]]) -> list[Figure]:
    """All figures, with a line for every attack and every task of a harness that is not in the list, by name, behind those that
    are."""
    names = {name for values in trials for name in values} - {figure.name for figure in FIGURES}
    attacks = [Figure(name, f"ASR {name.removeprefix('asr_')}", average="interval", keep=7) for name in _like(_ATTACK, names)]
    tasks = [Figure(name, name.removeprefix("utility_"), average="interval", keep=6) for name in _like(_TASK, names)]
    found = list(FIGURES)
    for others, like in ((attacks, _ATTACK.match), (tasks, re.compile("utility$").match)):
        place = max((place for place, figure in enumerate(found, 1) if like(figure.name)), default=0)
        found[place:place] = others
    return found


def _like(pattern: re.Pattern[str], names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if pattern.match(name))


def head_of(name: str) -> str:
    """The figure of which a name is a variant or an interval's end: `kl_depth` of `kl_depth_5_low`."""
    return _VARIANT.sub("", name)


def unit_of(name: str) -> Unit:
    """A figure's unit by its name, or by that of the figure of which it is a variant or an interval's end (`kl_depth_5_low`)."""
    known = {figure.name: figure.unit for figure in FIGURES}
    return known.get(name) or known.get(head_of(name), "share")


def of_other_judges(trials: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of what further judges say, `JUDGE/safety_score` and the like, in the order in which they come."""
    return list(dict.fromkeys(name for values in trials for name in values if "/" in name))


def figures_of(scores: Mapping[str, float], result: object | None, record: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a trial, by name: its scores as they are (intervals and variants, too), then what its result has."""
    of_result = {figure.name: getattr(result, figure.name, None) for figure in FIGURES if figure.source == "result"}
    return {**scores, **record, **{name: value for name, value in of_result.items() if value is not None}}


def tracked(values: Mapping[str, Any]) -> dict[str, float]:
    """What a tracker is told of them: scores as `eval/NAME`, numbers of the result under their own names, of the record's what
    has a name for it."""
    known = {figure.name: figure for figure in FIGURES}
    by_name = {}
    for name, value in values.items():
        metric = _metric(known.get(name, Figure(name)))
        if metric:
            by_name[metric] = float(value)
    return by_name


def _metric(figure: Figure) -> str:
    if figure.metric or figure.unit == "text" or figure.source == "record":
        return figure.metric
    return f"eval/{figure.name}" if figure.source == "scores" else figure.name


def is_share(name: str) -> bool:
    """Whether a figure of scores, another judge's too, lies in 0 to 1."""
    return unit_of(name.rpartition("/")[2]) == "share"
