"""What every model of a trial is asked, how it answers and who judges: the `evaluation` section, checked and built."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from raysafe.artifacts import fingerprint
from raysafe.config.reading import build, unknown_key
from raysafe.config.sections import BASE, SANDBOX, TRICKS, EvaluationSettings
from raysafe.data.references import DataRef
from raysafe.errors import ConfigError
from raysafe.evaluation.answering import Decoding
from raysafe.evaluation.attacks import ATTACKS, Attack, Direct
from raysafe.evaluation.guards import guard_problems
from raysafe.evaluation.judges import JUDGES, Judge
from raysafe.evaluation.probes import PROBES, Probe
from raysafe.evaluation.roles import FILES, ROLES
from raysafe.evaluation.served import endpoint_of
from raysafe.evaluation.suites import Suite, suites_of

Member = TypeVar("Member")


@dataclass(frozen=True)
class Exam:
    """`attacks`: names of those that count for safety. `judges`: the first one's figures have the plain names. `probes`: what is
    read of the model without asking it anything. `drawn`: roles whose prompts are a world's, drawn by its seed.
    `reference`: what win rates compare with, a file's answers by its content."""

    suites: tuple[Suite, ...]
    decoding: Decoding
    judges: tuple[Judge, ...]
    attacks: tuple[str, ...]
    epoch_prompts: int | None
    probes: tuple[Probe, ...] = ()
    drawn: tuple[str, ...] = ()
    reference: DataRef | str | Mapping[str, Any] = BASE

    @property
    def fingerprint(self) -> str:
        """16 hex digits over what the figures are figures of: suites with prompts and attacks, decoding, judges with version and
        settings, readings, what win rates compare with. Trials with different ones are not compared.

        A world's prompts go by their number: each of its seeds draws others of the same kind.
        """
        suites = [[suite.name, suite.attack, suite.max_prompts, self._prompts(suite)] for suite in self.suites]
        judges = [[one.version, one] for one in self.judges]
        return fingerprint([suites, self.attacks, self.decoding, judges, self.probes, self.reference])

    def _prompts(self, suite: Suite) -> list[Any]:
        role = ROLES[suite.role].half_of or suite.role
        return [role, suite.data.rows] if role in self.drawn and not suite.source else [suite.data]

    @property
    def plainly(self) -> Suite:
        """The harmful prompts as they are, which are always asked."""
        return next(suite for suite in self.suites if suite.name == Direct.name)

    @property
    def after_epoch(self) -> tuple[Suite, ...]:
        """The suites that are asked after a training epoch."""
        return tuple(suite.shortened(self.epoch_prompts) for suite in self.suites if suite.attack.each_epoch)


def exam_of(settings: EvaluationSettings, data: Mapping[str, DataRef], reference: DataRef | None = None) -> Exam:
    """The exam of a section; `data` is the file of every role that has one, `reference` that of `evaluation.reference`, if it is
    one. Raises ConfigError with every problem."""
    problems: list[str] = []
    attacks = attacks_of(settings, problems)
    judges = judges_of(settings, problems)
    endpoint_of(settings.served, "any", "https://any", problems)
    probes = probes_of(settings, problems)
    problems += guard_problems(settings)
    if problems:
        raise ConfigError("configuration: " + "; ".join(problems) + ".")
    fixed = settings.batch_size if settings.precision == "bf16" else None
    return Exam(
        suites_of(attacks, data, settings.max_prompts),
        Decoding(settings.max_new_tokens, settings.precision, fixed, settings.batch_size),
        tuple(judges),
        tuple(name for name, attack in attacks.items() if attack.counts),
        settings.epoch_prompts,
        tuple(probes),
        tuple(role for role in FILES if getattr(settings, role) in (SANDBOX, TRICKS)),
        reference or settings.reference,
    )


def attacks_of(settings: EvaluationSettings, problems: list[str]) -> dict[str, Attack]:
    """The attacks that the section names, by the names of their suites; what is wrong with them is added to the list."""
    found: dict[str, Attack] = {}
    for suite, raw in settings.attacks.items():
        key, fields = f"evaluation.attacks.{suite}", dict(raw)
        name = fields.pop("name", suite)
        if name not in ATTACKS:
            problems.append(unknown_key(key, raw, ATTACKS) + "; or any name with a `name`, which is one of these")
        elif (attack := build(ATTACKS[name], fields, key, problems)) is not None:
            found[suite] = attack.found()
            problems += [f"`{key}`: {why}" for why in [_unfit(suite, name)] if why]
    return found


def _unfit(suite: str, attack: str) -> str:
    """Why a suite can't be called that; empty if it can. Its rate is `asr_SUITE`, those of variants `asr_SUITE_VARIANT`."""
    if suite != attack and (suite in ATTACKS or suite in ROLES):
        return f"a suite of {attack} can't have a name that means something else"
    if suite != attack and not ATTACKS[attack].counts:
        return f"{attack} has figures of its own, so that it stands under its own name"
    if not re.fullmatch(r"[A-Za-z][\w-]*", suite) or re.search(r"_(low|high|n|\d+)$", suite):
        return "a suite's name takes letters, digits, `_` and `-`, and doesn't end in `_` and a number, `_low`, `_high` or `_n`"
    return ""


def probes_of(settings: EvaluationSettings, problems: list[str]) -> list[Probe]:
    """The probes that the section names, in the table's order; what is wrong with them is added to the list."""
    found = {probe.name: probe.found() for probe in _members(PROBES, settings.probes, "evaluation.probes", problems)}
    return [found[name] for name in PROBES if name in found]


def _members(
    family: Mapping[str, type[Member]], raw: Mapping[str, Mapping[str, Any]], section: str, problems: list[str]
) -> list[Member]:
    """Members of a family by name, each with its own settings."""
    found: list[Member | None] = []
    for name, settings in raw.items():
        key = f"{section}.{name}"
        if name in family:
            found.append(build(family[name], settings, key, problems))
        else:
            problems.append(unknown_key(key, settings, family))
    return [member for member in found if member is not None]


def judges_of(settings: EvaluationSettings, problems: list[str]) -> list[Judge]:
    """The judge of the section and those beside it; what is wrong with them is added to the list."""
    named = {"evaluation.judge": settings.judge}
    named |= {f"evaluation.judges.{place}": raw for place, raw in enumerate(settings.judges)}
    found = [judge_of(raw, key, problems) for key, raw in named.items()]
    judges = [judge for judge in found if judge is not None]
    names = [judge.name for judge in judges]
    problems += [f"`evaluation.judges`: `{name}` judges twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    return judges


def judge_of(raw: str | Mapping[str, Any], key: str, problems: list[str]) -> Judge | None:
    """A judge by its name, or by a mapping of `name` and settings."""
    fields = {"name": raw} if isinstance(raw, str) else dict(raw)
    name = fields.pop("name", None)
    if name not in JUDGES:
        problems.append(f"`{key}`: got {name!r}, but it takes one of {', '.join(JUDGES)}, or a mapping with such a `name`")
        return None
    settings = _with_preset(JUDGES[name], fields, key, problems)
    judge = build(JUDGES[name], settings, key, problems) if settings is not None else None
    return judge.found() if judge is not None else None


def _with_preset(kind: type[Judge], fields: dict[str, Any], key: str, problems: list[str]) -> dict[str, Any] | None:
    """Settings over those of the preset that they name, where the judge has presets."""
    presets = getattr(kind, "presets", {})
    if "preset" not in fields or not presets:
        return fields
    chosen = fields.pop("preset")
    if chosen not in presets:
        problems.append(f"`{key}.preset`: got {chosen!r}, but it takes one of {', '.join(presets)}")
        return None
    return {**presets[chosen], **fields}


def smoke_test_notes(model: str, judges: Sequence[Judge]) -> list[str]:
    """What is to be said where a real model's figures rest on `phrases` alone."""
    if model == SANDBOX or [judge.name for judge in judges] != ["phrases"]:
        return []
    return ["judge phrases: a smoke test, no evidence of how safe a model is; `classifier`, `rubric` and `openai` read answers"]
