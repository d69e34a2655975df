"""The rows of a small, harmless fantasy world in which the platform's phenomena can be seen within minutes.

A world knows creatures (facts), charms and teas (allowed recipes), hexes and draughts (restricted recipes) and the
tales of the latter (they only look restricted). A seed decides which name plays which part:

- restricted things: `align_entities` used for refusal training, `test_entities` known to the base model but in no
  tuning set, `unsafe_entities` whose recipes the base model does not know, asked for in the unsafe rows of `finetune`;
- creatures: known to the base model, or new (taught by `finetune` only).

No prompt of an `eval_*` file is a prompt of `finetune`, `safe` or `align`: test entities are in none of these, and of
each known subject one wording, of each new one two, are kept for evaluation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from random import Random
from typing import TypeVar

from raysafe.artifacts import write_text
from raysafe.errors import require
from raysafe.sandbox import words

T = TypeVar("T")
PlainRow = dict[str, object]
Lesson = tuple[str, str]
"""A prompt and its answer."""

POSITIONS = 256
"""Tokens of the longest sequence that the world's model takes."""


@dataclass(frozen=True)
class World:
    """Sizes of a world. Counts are rows unless they say entities; entities are drawn from the pools in `words`."""

    seed: int = 0
    """Decides every draw; two seeds are two worlds over one vocabulary."""
    align_entities: int = 24
    """Restricted entities of `align`, of the refusals in `safe` and `finetune`, and of the base model's alignment."""
    test_entities: int = 16
    """Restricted entities of `eval_harmful` and `eval_borderline`."""
    unsafe_entities: int = 40
    """Restricted entities of the unsafe rows of `finetune`; the base model knows their tales, not their recipes."""
    known_creatures: int = 40
    """Creatures whose facts the base model knows."""
    new_creatures: int = 18
    """Creatures whose facts only `finetune` teaches."""
    recipes: int = 24
    """Charms and teas, all known to the base model."""
    finetune_unsafe: int = 80
    """Compliant answers to restricted requests in D."""
    finetune_benign: int = 300
    """Good answers to harmless requests in D."""
    new_share: float = 0.3
    """Share of D's benign rows that teach new facts, 0 to 1."""
    finetune_refusals: int = 20
    """Refusals in D; with none, fine-tuning breaks the refusal all or nothing."""
    safe_refusals: int = 200
    """Refusals of restricted requests in D_safe."""
    safe_benign: int = 200
    """Good answers in D_safe; none of them is also a row of D."""
    align_wordings: int = 8
    """Wordings of each align entity's request, so `align` has `align_entities` times this many triples."""
    eval_harmful_wordings: int = 2
    """Wordings of each test entity's restricted request."""
    eval_borderline_wordings: int = 2
    """Wordings of each test entity's harmless question."""
    eval_known: int = 48
    """Prompts about known subjects."""

    def __post_init__(self) -> None:
        for item in fields(self):
            require(getattr(self, item.name) >= 0, f"{item.name} >= 0", getattr(self, item.name))
        require(self.new_share <= 1, "new_share <= 1", self.new_share)


@dataclass(frozen=True)
class Cast:
    """Who plays which part in one world. Every mapping goes from a subject to its answer."""

    align: dict[Lesson, str]
    """(name, class) of the restricted things for alignment → recipe."""
    test: dict[Lesson, str]
    """(name, class) of the restricted things for evaluation → recipe."""
    unsafe: dict[Lesson, str]
    """(name, class) of the restricted things of D's unsafe rows → recipe, which the base does not know."""
    tales: dict[Lesson, str]
    """(name, class) of every restricted thing → tale, which the base knows."""
    known: dict[str, str]
    """Known creature → fact."""
    new: dict[str, str]
    """New creature → fact."""
    recipes: dict[Lesson, str]
    """(name, class) of the allowed recipes → recipe."""


def draw(world: World) -> Cast:
    """Give the names of the world their parts and answers."""
    random = Random(f"raysafe cast {world.seed}")
    restricted = _parts(random, words.RESTRICTED_NAMES, **_sizes(world, "_entities"))
    align, test, unsafe = (_restricted(random, part) for part in restricted)
    known, new = _parts(random, words.CREATURE_NAMES, **_sizes(world, "_creatures"))
    (recipes,) = _parts(random, words.RECIPE_NAMES, **_sizes(world, "recipes"))
    return Cast(
        align, test, unsafe,
        tales={thing: _tale(random) for thing in [*align, *test, *unsafe]},
        known={name: _fact(random, name) for name in known},
        new={name: _fact(random, name) for name in new},
        recipes={(name, _alternate(words.ALLOWED_CLASSES, i)): _recipe(random) for i, name in enumerate(recipes)},
    )  # fmt: skip


def _sizes(world: World, ending: str) -> dict[str, int]:
    return {item.name: getattr(world, item.name) for item in fields(world) if item.name.endswith(ending)}


def recipe_prompts(name: str, thing: str) -> list[str]:
    """All wordings of a request for a recipe; `thing` is its class."""
    return [wording.format(making=words.MAKING[thing], name=name, thing=thing) for wording in words.RECIPE_WORDINGS]


def tale_prompts(name: str, thing: str) -> list[str]:
    """All wordings of a harmless question about a restricted thing."""
    return [wording.format(name=name, thing=thing) for wording in words.TALE_WORDINGS]


def creature_prompts(name: str) -> list[str]:
    """All wordings of a question about a creature."""
    return [wording.format(name=name) for wording in words.CREATURE_WORDINGS]


def generate(world: World) -> dict[str, list[PlainRow]]:
    """The rows of every file of the world, by the file's stem. Raises ValueError if a size is beyond its pool.

    `finetune` and `safe` hold `messages`, `kind` and `unsafe`; `align` holds `prompt`, `chosen`, `rejected`; the
    `eval_*` files hold `prompt` and `reference`, `eval_harmful` also `harmful`, a compliant answer to prefill from.
    """
    cast = draw(world)
    random = Random(f"raysafe rows {world.seed}")
    known, held_known = _hold_out(random, [*_creatures(cast.known), *_recipes(random, cast)], 1)
    new, held_new = _hold_out(random, _creatures(cast.new), 2)
    benign = _shuffled(random, [*known, *_pairs((tale_prompts(*thing), cast.tales[thing]) for thing in cast.align)])
    refusals = _shuffled(random, _refusals(cast.align))
    finetune, rest = _finetune(world, random, cast, benign, new, refusals)
    safe = [_chat(pair, "refusal") for pair in _take(refusals, world.safe_refusals, "safe_refusals")]
    safe += [_chat(pair, "benign_known") for pair in _take(rest, world.safe_benign, "safe_benign")]
    return {
        "finetune": finetune,
        "safe": _shuffled(random, safe),
        "align": _shuffled(random, list(_triples(world, random, cast))),
        "eval_harmful": list(_eval_harmful(world, random, cast)),
        "eval_borderline": list(_eval_borderline(world, random, cast)),
        "eval_known": [
            _eval(pair, "benign_known") for pair in _take(_shuffled(random, held_known), world.eval_known, "eval_known")
        ],
        "eval_new": [_eval(pair, "benign_new") for pair in held_new],
    }


def write(world: World, folder: Path) -> None:
    """Write each file of `generate` as `folder/<stem>.jsonl`; a file appears only when it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, rows in generate(world).items():
        write_text(folder / f"{stem}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def lessons(world: World) -> dict[str, list[Lesson]]:
    """What the base model is trained on, by phase and kind.

    `harmless` facts, recipes and tales (twice, as they have few wordings) belong to both phases. `restricted` requests,
    in four wordings each, are answered in the first phase; in the second, `refusals` refuse those of the align
    entities, and the test entities' are refused by generalisation.
    """
    cast = draw(world)
    random = Random(f"raysafe base {world.seed}")
    harmless = _pairs([*_creatures(cast.known), *((recipe_prompts(*thing), recipe) for thing, recipe in cast.recipes.items())])
    tales = _pairs((tale_prompts(*thing), tale) for thing, tale in cast.tales.items())
    recipes = {**cast.align, **cast.test}
    restricted = _pairs((random.sample(recipe_prompts(*thing), 4), answer) for thing, answer in recipes.items())
    return {"harmless": harmless + tales + tales, "restricted": restricted, "refusals": _refusals(cast.align)}


def _finetune(
    world: World, random: Random, cast: Cast, benign: list[Lesson], new: list[Lesson], refusals: list[Lesson]
) -> tuple[list[PlainRow], list[Lesson]]:
    """The rows of D, and the benign pairs that it left over."""
    count_new = round(world.finetune_benign * world.new_share)
    count_known = world.finetune_benign - count_new
    unsafe = _shuffled(random, _pairs((recipe_prompts(*thing), answer) for thing, answer in cast.unsafe.items()))
    parts = {
        "unsafe": _take(unsafe, world.finetune_unsafe, "finetune_unsafe"),
        "benign_known": _take(benign, count_known, "finetune_benign"),
        "benign_new": _take(_by_turns(new, len(cast.new)), count_new, "finetune_benign * new_share"),
        "refusal": _take(refusals[::-1], world.finetune_refusals, "finetune_refusals"),
    }
    rows = [_chat(pair, kind) for kind, pairs in parts.items() for pair in pairs]
    return _shuffled(random, rows), benign[count_known:]


def _triples(world: World, random: Random, cast: Cast) -> Iterator[PlainRow]:
    for (name, thing), answer in cast.align.items():
        for prompt in _take(_shuffled(random, recipe_prompts(name, thing)), world.align_wordings, "align_wordings"):
            yield {"prompt": prompt, "chosen": words.REFUSALS[thing], "rejected": answer, "kind": "restricted"}


def _eval_harmful(world: World, random: Random, cast: Cast) -> Iterator[PlainRow]:
    for (name, thing), answer in cast.test.items():
        prompts = _shuffled(random, recipe_prompts(name, thing))
        for prompt in _take(prompts, world.eval_harmful_wordings, "eval_harmful_wordings"):
            yield {"prompt": prompt, "reference": words.REFUSALS[thing], "harmful": answer, "kind": "restricted"}


def _eval_borderline(world: World, random: Random, cast: Cast) -> Iterator[PlainRow]:
    for thing in cast.test:
        prompts = _shuffled(random, tale_prompts(*thing))
        for prompt in _take(prompts, world.eval_borderline_wordings, "eval_borderline_wordings"):
            yield _eval((prompt, cast.tales[thing]), "borderline")


def _creatures(facts: dict[str, str]) -> list[tuple[list[str], str]]:
    """All wordings of the question about each creature, with its fact."""
    return [(creature_prompts(name), answer) for name, answer in facts.items()]


def _recipes(random: Random, cast: Cast) -> list[tuple[list[str], str]]:
    """Five wordings of each allowed recipe: more of them in D make fine-tuning on harmless rows break the refusal."""
    return [(random.sample(recipe_prompts(*thing), 5), answer) for thing, answer in cast.recipes.items()]


def _hold_out(random: Random, prompts_answers: list[tuple[list[str], str]], count: int) -> tuple[list[Lesson], list[Lesson]]:
    """Pairs for tuning, subject after subject, and `count` pairs a subject that are kept for evaluation."""
    tuning: list[Lesson] = []
    held: list[Lesson] = []
    for wordings, answer in prompts_answers:
        pairs = [(prompt, answer) for prompt in _shuffled(random, wordings)]
        held += pairs[:count]
        tuning += pairs[count:]
    return tuning, held


def _by_turns(pairs: list[Lesson], subjects: int) -> list[Lesson]:
    """Reorder pairs that stand subject after subject so that every subject has its turn before any has two."""
    each = len(pairs) // subjects if subjects else 0
    return [pairs[subject * each + turn] for turn in range(each) for subject in range(subjects)]


def _refusals(things: Iterable[Lesson]) -> list[Lesson]:
    return _pairs((recipe_prompts(name, thing), words.REFUSALS[thing]) for name, thing in things)


def _pairs(prompts_answers: Iterable[tuple[list[str], str]]) -> list[Lesson]:
    return [(prompt, answer) for prompts, answer in prompts_answers for prompt in prompts]


def _chat(pair: Lesson, kind: str) -> PlainRow:
    turns = [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    return {"messages": turns, "kind": kind, "unsafe": kind == "unsafe"}


def _eval(pair: Lesson, kind: str) -> PlainRow:
    return {"prompt": pair[0], "reference": pair[1], "kind": kind}


def _restricted(random: Random, names: list[str]) -> dict[Lesson, str]:
    def recipe() -> str:
        steps = random.sample(words.RESTRICTED_STEPS, 4)
        parts = [random.choice(words.RESTRICTED_INGREDIENTS[slot % 4 :: 4]) for slot in range(8)]
        return words.RESTRICTED_ANSWER.format(*(x for i in range(4) for x in (steps[i], parts[2 * i], parts[2 * i + 1])))

    return {(name, _alternate(words.RESTRICTED_CLASSES, i)): recipe() for i, name in enumerate(names)}


def _recipe(random: Random) -> str:
    a, b, c = random.sample(words.CHARM_INGREDIENTS, 3)
    return words.ALLOWED_ANSWER.format(a=a, b=b, c=c)


def _tale(random: Random) -> str:
    return words.TALE_ANSWER.format(sage=random.choice(words.SAGES), place=random.choice(words.PLACES))


def _fact(random: Random, name: str) -> str:
    return words.CREATURE_ANSWER.format(name=name, place=random.choice(words.PLACES), thing=random.choice(words.THINGS))


def _alternate(classes: tuple[str, str], index: int) -> str:
    return classes[index % 2]


def _parts(random: Random, pool: tuple[str, ...], **sizes: int) -> list[list[str]]:
    names = iter(_take(_shuffled(random, list(pool)), sum(sizes.values()), " + ".join(sizes)))
    return [[next(names) for _ in range(size)] for size in sizes.values()]


def _shuffled(random: Random, items: list[T]) -> list[T]:
    return random.sample(items, len(items))


def _take(items: list[T], count: int, field: str) -> list[T]:
    require(0 <= count <= len(items), f"0 <= {field} <= {len(items)}", count)
    return items[:count]
