"""What it cost: seconds by kind of stage, what sharing saved, and what early stopping did not run."""

from raysafe.report.data import mean_of
from raysafe.report.drawing import COLOURS, MUTED, Plot, canvas, label
from raysafe.report.figures import STAGE_KINDS
from raysafe.report.panels.base import Absent, Subject

SAVED = "seconds_saved"


def seconds(subject: Subject) -> list[Plot]:
    """Bars: what all trials spent in each kind of stage, and what was not spent."""
    spent = {name: total for name in STAGE_KINDS if (total := _total(subject, f"seconds_{name}")) is not None}
    if not spent:
        raise Absent("summary.csv has no seconds by stage")
    bars = [(name.replace("_", "-"), value, COLOURS[0]) for name, value in spent.items()]
    saved, stopped = _total(subject, SAVED), _not_run(subject)
    bars += [("saved by sharing", saved, COLOURS[2])] if saved else []
    bars += [("not run, stopped early", stopped, COLOURS[5])] if stopped else []
    picture = canvas(
        f"Seconds by stage, {sum(spent.values()):,.0f} in all", x="seconds of a worker group", height=76 + 27 * len(bars)
    )
    axes = picture.axes
    longest = max(value for _, value, _ in bars) or 1.0
    for line, (name, value, colour) in enumerate(reversed(bars)):
        axes.barh(line, value, color=colour, height=0.42, alpha=0.85)
        label(axes, 0, line + 0.42, name)
        label(axes, value + 0.01 * longest, line, f"{value:,.0f} s" if value >= 10 else f"{value:.1f} s", color=MUTED)
    axes.set_yticks([])
    axes.set_ylim(-0.5, len(bars) - 0.25)
    axes.set_xlim(0, longest * 1.18)
    axes.grid(axis="y", visible=False)
    return [picture.named("seconds")]


def _total(subject: Subject, name: str) -> float | None:
    known = [float(row.figures[name]) for row in subject.data.rows if row.figures.get(name) is not None]
    return sum(known) if known else None


def _not_run(subject: Subject) -> float:
    """Epochs that stopped trials had left, at what an epoch took on average; an estimate."""
    left = 0.0
    for row in subject.data.rows:
        epochs = subject.data.planned.get(row.trial, {}).get("training", {}).get("epochs", 0)
        left += max(0.0, epochs - row.figures.get("epochs", 0)) if row.status == "STOPPED" else 0.0
    own = [row for row in subject.data.scored if row.figures.get("seconds_train")]
    done, took = mean_of(own, "epochs"), mean_of(own, "seconds_train")
    return left * took / done if done and took else 0.0
