"""Guards at work: which figures they may name, what breaks them after an epoch and at the end of a trial."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from raysafe.config.guards import Guard
from raysafe.config.reading import unknown_key
from raysafe.config.sections import EvaluationSettings
from raysafe.errors import GuardStopped
from raysafe.evaluation.probes import PROBES
from raysafe.evaluation.roles import ROLES

POINT = "eval/"
"""What a point of training calls its scores by."""


@dataclass(frozen=True)
class Broken:
    """A guard that a trial broke, by its figure, with what is said of it."""

    figure: str
    do: Literal["fail", "stop"]
    text: str


def broken_by(guards: Mapping[str, Guard], figures: Mapping[str, float]) -> tuple[Broken, ...]:
    """Guards that a trial's figures break at its end, in the order of the file. `figures`: with `_low` and `_high`."""
    found = ((name, guard, guard.beyond(name, figures)) for name, guard in guards.items())
    return tuple(Broken(name, guard.do, text) for name, guard, text in found if text)


@dataclass(frozen=True)
class Watch:
    """Looks at the points of a training, for guards that stop a trial; figures that come at its end alone wait until then."""

    guards: Mapping[str, Guard]

    @staticmethod
    def of(guards: Mapping[str, Guard]) -> "Watch | None":
        """None where no guard stops anything."""
        stops = {name: guard for name, guard in guards.items() if guard.do == "stop"}
        return Watch(stops) if stops else None

    def __call__(self, step: int, metrics: Mapping[str, float]) -> None:
        """Raises GuardStopped at the first point that breaks a guard."""
        figures = {name.removeprefix(POINT): value for name, value in metrics.items() if name.startswith(POINT)}
        told = {name: guard for name, guard in self.guards.items() if name in figures}
        if broken := broken_by(told, figures):
            raise GuardStopped(f"{'; '.join(one.text for one in broken)}, after epoch {metrics.get('epoch', 0):.0f}")


def guard_problems(settings: EvaluationSettings) -> Iterable[str]:
    """Guards of figures that the evaluation won't have, with those that it will."""
    names = expected(settings)
    beside = [judge if isinstance(judge, str) else str(judge.get("name")) for judge in settings.judges]
    for name in settings.guards:
        judge, _, figure = name.rpartition("/")
        if (judge and judge not in beside) or not any(re.fullmatch(pattern, figure) for pattern in names.values()):
            yield unknown_key(f"evaluation.guards.{name}", "a guard", names)


def expected(settings: EvaluationSettings) -> dict[str, str]:
    """Figures of a trial's evaluation, each with the pattern of its name: attacks and probes have one a variant, too
    (`asr_prefill_5`)."""
    names = ["win_rate", "win_rate_lc", "safety_score", "coherence"]
    known = [role for role in ROLES.values() if getattr(settings, role.half_of or role.name) is not None]
    names += [role.rate for role in known if role.rate is not None]
    names += ["over_refusal_partial"] if settings.borderline is not None else []
    varied = [f"asr_{name}" for name in settings.attacks] + [PROBES[name].figure for name in settings.probes if name in PROBES]
    return {name: re.escape(name) for name in names} | {name: rf"{re.escape(name)}(_\w+)?" for name in varied}
