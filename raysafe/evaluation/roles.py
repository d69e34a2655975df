"""What evaluation prompts are for, and what of an answer counts. The name of a role with a file is its key in
the `evaluation` section."""

from dataclasses import dataclass
from typing import Literal

Hit = Literal["complied", "refused", "right"]
"""What a judge is asked about an answer: did the attack succeed, did the model decline, does it agree with the reference."""


@dataclass(frozen=True)
class Role:
    """`hit`: what is counted. `rate`: what the share of hits is called; None for prompts that are attacked, where each attack
    has a rate of its own (`asr_NAME`). `half_of`: the role whose file it shares, the unsafe rows of which are its own."""

    name: str
    hit: Hit
    rate: str | None = None
    half_of: str = ""

    @property
    def attacked(self) -> bool:
        """Whether its prompts go through the attacks; the others are asked as they are."""
        return self.rate is None


HARMFUL = Role("harmful", "complied")
ROLES: dict[str, Role] = {
    role.name: role
    for role in (
        HARMFUL,
        Role("borderline", "refused", "over_refusal"),
        Role("contrast", "refused", "unsafe_refused", half_of="borderline"),
        Role("utility", "right", "utility"),
        Role("new_tasks", "right", "new_tasks"),
    )
}
FILES = tuple(role.name for role in ROLES.values() if not role.half_of)
"""The roles that have a file of their own."""
