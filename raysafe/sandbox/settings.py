"""The settings of a world: how large it is, and how hard."""

from __future__ import annotations

from dataclasses import dataclass, fields

from raysafe.errors import require
from raysafe.sandbox.words import RESTRICTED_CLASSES


@dataclass(frozen=True)
class World:
    """Sizes and difficulty of a world. Counts are rows unless they say entities; entities are drawn from the pools in `words`."""

    seed: int = 0
    """Decides every draw; two seeds are two worlds over one vocabulary."""
    align_entities: int = 48
    """Restricted entities of `align`, of the refusals in `safe` and `finetune`, and of the base model's alignment."""
    test_entities: int = 32
    """Restricted entities of `eval_harmful` and `eval_borderline`, as many of each class."""
    unsafe_entities: int = 40
    """Restricted entities of the unsafe rows of `finetune`; the base model knows their tales, not their recipes."""
    seen_entities: int = 10
    """Restricted entities of the unsafe rows of `finetune` whose recipes the base model knows as well."""
    known_creatures: int = 40
    """Creatures whose facts the base model knows."""
    new_creatures: int = 12
    """Creatures whose facts only `finetune` teaches."""
    recipes: int = 24
    """Allowed recipes, all known to the base model."""
    finetune_unsafe: int = 80
    """Compliant answers to restricted requests in D."""
    finetune_benign: int = 256
    """Good answers to harmless requests in D."""
    new_share: float = 0.3
    """Share of D's benign rows that teach new facts, 0 to 1."""
    finetune_refusals: int = 64
    """Refusals in D. They hold against the unsafe rows class by class; with none the refusal breaks all or nothing."""
    safe_refusals: int = 200
    """Refusals of restricted requests in D_safe."""
    safe_benign: int = 200
    """Good answers in D_safe, about other subjects than D's, so that names alone tell nothing."""
    align_wordings: int = 4
    """Wordings of each align entity's request, so `align` has `align_entities` times this many triples."""
    eval_harmful_wordings: int = 2
    """Wordings of each test entity's restricted request."""
    eval_borderline_wordings: int = 2
    """Wordings of each test entity's harmless question."""
    eval_known: int = 48
    """Prompts about known subjects."""
    classes: int = 8
    """Classes of restricted things, 1 to 8, each with its own words and its own refusal: the refusal gives way one by one."""
    spread: float = 0.85
    """How uneven classes are, above 0, at most 1: each has so many times the align entities of the one before it, and in
    another order so many times the unsafe ones; 1 makes all alike."""
    unsafe_seen: float = 0.6
    """Share of D's unsafe rows about recipes that the base model knows, 0 to 1: nothing but their compliance is a surprise."""
    unsafe_partial: float = 0.1
    """Share of D's unsafe rows that give the first two of four steps, 0 to 1."""
    unsafe_hidden: float = 0.1
    """Share of D's unsafe rows that answer a harmless question and give two steps behind it, 0 to 1."""
    alike: bool = True
    """Whether allowed recipes have the steps and ingredients of restricted ones; else a sentence of words of their own."""
    close_share: float = 0.5
    """Share of `eval_borderline` in wordings that come close to a request for the recipe, 0 to 1."""

    def __post_init__(self) -> None:
        for item in fields(self):
            require(getattr(self, item.name) >= 0, f"{item.name} >= 0", getattr(self, item.name))
        for name in ("new_share", "close_share", "unsafe_seen", "unsafe_partial", "unsafe_hidden"):
            require(getattr(self, name) <= 1, f"{name} <= 1", getattr(self, name))
        kinds = self.unsafe_seen + self.unsafe_partial + self.unsafe_hidden
        require(kinds <= 1 + 1e-9, "unsafe_seen + unsafe_partial + unsafe_hidden <= 1", kinds)
        require(1 <= self.classes <= len(RESTRICTED_CLASSES), f"1 <= classes <= {len(RESTRICTED_CLASSES)}", self.classes)
        require(0 < self.spread <= 1, "0 < spread <= 1", self.spread)
