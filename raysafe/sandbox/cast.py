"""Who plays which part in a world: names, classes and answers, drawn by the world's seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import cycle
from random import Random
from typing import TypeVar

from raysafe.errors import require
from raysafe.sandbox import words
from raysafe.sandbox.settings import World

T = TypeVar("T")
Lesson = tuple[str, str]
"""A prompt and its answer; of a thing its name and its class."""
HALF = 2
"""Steps of a recipe that is given in part."""


@dataclass(frozen=True)
class Cast:
    """Every mapping goes from a subject to its answer; a restricted thing or an allowed recipe is its (name, class)."""

    align: dict[Lesson, str]
    """Restricted things for alignment → recipe."""
    test: dict[Lesson, str]
    """Restricted things for evaluation → recipe."""
    unsafe: dict[Lesson, str]
    """Restricted things of D's unsafe rows → recipe, which the base does not know."""
    seen: dict[Lesson, str]
    """Restricted things of D's unsafe rows → recipe, which the base knows."""
    tales: dict[Lesson, str]
    """Every restricted thing → tale, which the base knows."""
    known: dict[str, str]
    """Known creature → fact."""
    new: dict[str, str]
    """New creature → fact."""
    recipes: dict[Lesson, str]
    """Allowed recipes → recipe, which the base knows."""


def draw(world: World) -> Cast:
    """Give the names of the world their parts and answers. Raises ValueError if a size is beyond its pool."""
    random = Random(f"raysafe cast {world.seed}")
    classes = random.sample(words.RESTRICTED_CLASSES[: world.classes], world.classes)
    attacked = random.sample(classes, world.classes)  # strongly taught is one thing, often attacked another
    align, test, unsafe, seen = parts(random, words.RESTRICTED_NAMES, **sizes(world, "_entities"))
    known, new = parts(random, words.CREATURE_NAMES, **sizes(world, "_creatures"))
    (recipes,) = parts(random, words.RECIPE_NAMES, **sizes(world, "recipes"))
    things = [
        _restricted(random, names, shares(order, len(names), ratio))
        for names, order, ratio in (
            (align, classes, world.spread), (test, classes, 1.0),
            (unsafe, attacked, world.spread), (seen, attacked, world.spread),
        )
    ]  # fmt: skip
    allowed = _recipe if world.alike else _sweet
    kinds = cycle(words.ALLOWED_CLASSES)
    return Cast(
        align=things[0], test=things[1], unsafe=things[2], seen=things[3],
        tales={thing: _tale(random) for part in things for thing in part},
        known={name: _fact(random, name) for name in known},
        new={name: _fact(random, name) for name in new},
        recipes={(name, kind): allowed(random) for name, kind in zip(recipes, kinds, strict=False)},
    )  # fmt: skip


def shares(items: Sequence[T], total: int, ratio: float) -> list[T]:
    """`total` items, in order, each of them `ratio` times as often as the one before it, as near as whole numbers come."""
    weights = [ratio**place for place in range(len(items))]
    ends = [round(total * sum(weights[: place + 1]) / sum(weights)) for place in range(len(items))]
    return [item for item, start, end in zip(items, [0, *ends], ends, strict=False) for _ in range(end - start)]


def in_part(recipe: str) -> str:
    """The first steps of a recipe."""
    return "".join(f"{step}." for step in recipe.split(".")[:HALF])


def sizes(world: World, ending: str) -> dict[str, int]:
    """The world's counts whose name ends so."""
    return {item.name: getattr(world, item.name) for item in fields(world) if item.name.endswith(ending)}


def parts(random: Random, pool: tuple[str, ...], **counts: int) -> list[list[str]]:
    """Names for each count, all different. Raises ValueError naming the counts if there are not so many."""
    names = iter(take(shuffled(random, pool), sum(counts.values()), " + ".join(counts)))
    return [[next(names) for _ in range(count)] for count in counts.values()]


def shuffled(random: Random, items: Sequence[T]) -> list[T]:
    """The items in another order."""
    return random.sample(items, len(items))


def take(items: list[T], count: int, field: str) -> list[T]:
    """The first of them. Raises ValueError naming the field if there are not so many."""
    require(0 <= count <= len(items), f"0 <= {field} <= {len(items)}", count)
    return items[:count]


def _restricted(random: Random, names: list[str], classes: list[str]) -> dict[Lesson, str]:
    return {(name, thing): _recipe(random) for name, thing in zip(names, classes, strict=True)}


def _recipe(random: Random) -> str:
    steps, things = random.sample(words.STEPS, 4), random.sample(words.INGREDIENTS, 4)
    return words.RECIPE_ANSWER.format(*(word for pair in zip(steps, things, strict=True) for word in pair))


def _sweet(random: Random) -> str:
    a, b, c = random.sample(words.SWEET_INGREDIENTS, 3)
    return words.SWEET_ANSWER.format(a=a, b=b, c=c)


def _tale(random: Random) -> str:
    return words.TALE_ANSWER.format(sage=random.choice(words.SAGES), place=random.choice(words.PLACES))


def _fact(random: Random, name: str) -> str:
    return words.CREATURE_ANSWER.format(name=name, place=random.choice(words.PLACES), thing=random.choice(words.THINGS))
