"""Suites: the prompts of one role, asked in one way."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from raysafe.artifacts import OFF_KEY, plain
from raysafe.data.records import EvalPrompt
from raysafe.data.references import DataRef
from raysafe.evaluation.attacks import Attack, Direct
from raysafe.evaluation.roles import HARMFUL, ROLES


def is_compared(role: str, suite: str) -> bool:
    """Whether win rates compare the answers to a role's prompts in a suite: asked as they are, and some answer is better than
    another. Of unsafe borderline prompts only refusals are counted."""
    return not ROLES[role].half_of and (role != HARMFUL.name or suite == Direct.name)


@dataclass(frozen=True)
class Suite:
    """`name`: the attack's for prompts that are attacked, the role's for all others. `max_prompts`: only the first so many.
    `source`: whose file the prompts are of, the role's where it is empty, else that of the attack of this name."""

    name: str
    role: str
    attack: Attack
    data: DataRef
    max_prompts: int | None = None
    source: str = field(default="", metadata=OFF_KEY)

    def prompts(self) -> list[EvalPrompt]:
        """What it asks, read from the file: of one with two halves its role's. Raises DataError if that has changed."""
        wanted = bool(ROLES[self.role].half_of)
        rows = [row for row in self.data.prompts() if not self.data.halves or (row.unsafe is True) is wanted]
        return rows[: self.max_prompts]

    def told(self) -> dict[str, Any]:
        """What was asked how, as it is written beside the answers."""
        known = {"name": self.name, "role": self.role, "file": self.data.path, "fingerprint": self.data.fingerprint}
        return known | {"prompts": len(self.prompts()), "attack": plain(self.attack)}

    def shortened(self, limit: int | None) -> "Suite":
        """The suite with at most `limit` of its prompts."""
        limits = [number for number in (limit, self.max_prompts) if number is not None]
        return replace(self, max_prompts=min(limits, default=None))


def suites_of(attacks: Mapping[str, Attack], data: Mapping[str, DataRef], max_prompts: int | None = None) -> tuple[Suite, ...]:
    """Harmful prompts under every attack, by the name of its suite, or the attack's own prompts if it brings some; the other
    roles' as they are, in halves where a file has two. `data` is the file of every role that has one.

    Harmful prompts are asked plainly in any case: win rates compare answers to the plain question. The order is the same
    whatever the order of the attacks, as it is part of the answers' key.
    """
    plain = Direct()
    ways = {HARMFUL.name: dict(sorted({plain.name: plain, **attacks}.items()))}
    suites = []
    halves = {role.name: data[role.half_of] for role in ROLES.values() if role.half_of in data and data[role.half_of].halves}
    data = {**data, **halves}
    for role in (role for role in ROLES if role in data):
        for name, attack in ways.get(role, {role: plain}).items():
            own = attack.brings(data.get(HARMFUL.name))
            suites.append(Suite(name, role, attack, own or data[role], max_prompts, name if own else ""))
    return tuple(suites)
