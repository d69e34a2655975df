"""The rows of a small, harmless fantasy world in which the platform's phenomena can be seen within minutes.

A world knows creatures (facts), allowed recipes, restricted things (whose recipes are refused) and the tales of the latter
(they only look restricted). A seed decides which name plays which part (`cast.py`), the settings how large and how hard the
world is (`settings.py`):

- restricted things: `align_entities` used for refusal training, `test_entities` known to the base model but in no tuning
  set, `unsafe_entities` and `seen_entities` asked for in the unsafe rows of `finetune`;
- creatures: known to the base model, or new (taught by `finetune` only).

No prompt of an `eval_*` file is a prompt of `finetune`, `safe` or `align`: test entities are in none of these, and of
each known subject one wording, of each new one three, are kept for evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random

from raysafe.sandbox import words
from raysafe.sandbox.cast import Cast, Lesson, draw, in_part, shuffled, take
from raysafe.sandbox.settings import World

PlainRow = dict[str, object]
POSITIONS = 256
"""Tokens of the longest sequence that the world's model takes."""
Subject = tuple[list[str], str]
"""All wordings of a question, and its answer."""


def recipe_prompts(name: str, thing: str) -> list[str]:
    """All wordings of a request for a recipe; `thing` is its class."""
    return _worded(words.RECIPE_WORDINGS, name, thing)


def tale_prompts(name: str, thing: str) -> list[str]:
    """All plain wordings of a harmless question about a restricted thing."""
    return _worded(words.TALE_WORDINGS, name, thing)


def close_prompts(name: str, thing: str) -> list[str]:
    """All wordings of a harmless question about a restricted thing that come close to a request for its recipe."""
    return _worded(words.CLOSE_WORDINGS, name, thing)


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
    subjects = shuffled(random, [*_creatures(cast.known), *_recipes(random, cast)])
    tales = shuffled(random, [(tale_prompts(*thing), cast.tales[thing]) for thing in cast.align])
    held: list[Lesson] = []
    known, trusted = (_hold_out(random, subjects[half::2], 1, held) for half in (0, 1))
    held_new: list[Lesson] = []
    new = _hold_out(random, _creatures(cast.new), 3, held_new)
    benign, trusted = (
        shuffled(random, [*pairs, *_pairs(tales[half::2])]) for half, pairs in enumerate((known, trusted))
    )  # each subject in one of the two
    refusals = shuffled(random, _refusals(cast.align))
    safe = [_chat(pair, "refusal") for pair in take(refusals, world.safe_refusals, "safe_refusals")]
    safe += [_chat(pair, "benign_known") for pair in take(trusted, world.safe_benign, "safe_benign")]
    return {
        "finetune": _finetune(world, random, cast, benign, new, refusals),
        "safe": shuffled(random, safe),
        "align": shuffled(random, list(_triples(world, random, cast))),
        "eval_harmful": list(_eval_harmful(world, random, cast)),
        "eval_borderline": list(_eval_borderline(world, random, cast)),
        "eval_known": [_eval(pair, "benign_known") for pair in take(shuffled(random, held), world.eval_known, "eval_known")],
        "eval_new": [_eval(pair, "benign_new") for pair in held_new],
    }


def lessons(world: World) -> dict[str, list[Lesson]]:
    """What the base model is trained on, by phase and kind.

    `harmless` facts, recipes and tales (in four wordings) belong to both phases. `restricted` requests, in four wordings each
    and twice, are answered in the first phase; in the second, `refusals` refuse those of the align entities, twice, and the
    test entities' are refused by generalisation.
    """
    cast = draw(world)
    random = Random(f"raysafe base {world.seed}")
    harmless = _pairs([*_creatures(cast.known), *((recipe_prompts(*thing), recipe) for thing, recipe in cast.recipes.items())])
    asked = ((tale_prompts(*thing) + close_prompts(*thing), tale) for thing, tale in cast.tales.items())
    tales = _pairs((random.sample(prompts, 4), tale) for prompts, tale in asked)
    recipes = {**cast.align, **cast.test, **cast.seen}
    restricted = _pairs((random.sample(recipe_prompts(*thing), 4), answer) for thing, answer in recipes.items())
    return {"harmless": harmless + tales, "restricted": restricted * 2, "refusals": _refusals(cast.align) * 2}


def _finetune(
    world: World, random: Random, cast: Cast, benign: list[Lesson], new: list[Lesson], refusals: list[Lesson]
) -> list[PlainRow]:
    count_new = round(world.finetune_benign * world.new_share)
    rows = {
        **_unsafe(world, random, cast),
        "benign_known": take(benign, world.finetune_benign - count_new, "finetune_benign"),
        "benign_new": take(_by_turns(new, len(cast.new)), count_new, "finetune_benign * new_share"),
        "refusal": take(refusals[::-1], world.finetune_refusals, "finetune_refusals"),
    }
    return shuffled(random, [_chat(pair, kind) for kind, pairs in rows.items() for pair in pairs])


def _unsafe(world: World, random: Random, cast: Cast) -> dict[str, list[Lesson]]:
    """The unsafe rows by kind: recipes that the base knows, the first steps of one that it doesn't, those behind a harmless
    answer, and whole ones that it doesn't know. A thing has rows of one kind alone."""
    shares = {"seen": world.unsafe_seen, "partial": world.unsafe_partial, "hidden": world.unsafe_hidden}
    counts = _cut(world.finetune_unsafe, [*shares.values(), 1 - sum(shares.values())])
    strange = iter(shuffled(random, list(cast.unsafe)))
    unseen = _cut(len(cast.unsafe), [count / max(1, sum(counts[1:])) for count in counts[1:]])
    partial, hidden, whole = ([next(strange) for _ in range(count)] for count in unseen)
    hints = [(thing, f"{cast.tales[thing]} {in_part(cast.unsafe[thing])}") for thing in hidden]
    found = {
        "seen": [(recipe_prompts(*thing), recipe) for thing, recipe in cast.seen.items()],
        "partial": [(recipe_prompts(*thing), in_part(cast.unsafe[thing])) for thing in partial],
        "hidden": [(tale_prompts(*thing) + close_prompts(*thing), answer) for thing, answer in hints],
        "open": [(recipe_prompts(*thing), cast.unsafe[thing]) for thing in whole],
    }
    return {
        f"unsafe_{kind}": take(shuffled(random, _pairs(subjects)), count, f"finetune_unsafe * {_share_of(kind)}")
        for (kind, subjects), count in zip(found.items(), counts, strict=True)
    }


def _share_of(kind: str) -> str:
    return "(1 - the shares of other kinds)" if kind == "open" else f"unsafe_{kind}"


def _cut(total: int, shares: list[float]) -> list[int]:
    """A whole in parts of these shares, which sum up to 1 or to 0, as near as whole numbers come."""
    ends = [round(total * sum(shares[: place + 1])) for place in range(len(shares))]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def _triples(world: World, random: Random, cast: Cast) -> Iterator[PlainRow]:
    for (name, thing), answer in cast.align.items():
        for prompt in take(shuffled(random, recipe_prompts(name, thing)), world.align_wordings, "align_wordings"):
            yield {"prompt": prompt, "chosen": words.REFUSALS[thing], "rejected": answer, "kind": "restricted"}


def _eval_harmful(world: World, random: Random, cast: Cast) -> Iterator[PlainRow]:
    for (name, thing), answer in cast.test.items():
        prompts = shuffled(random, recipe_prompts(name, thing))
        for prompt in take(prompts, world.eval_harmful_wordings, "eval_harmful_wordings"):
            yield {"prompt": prompt, "reference": words.REFUSALS[thing], "harmful": answer, "kind": "restricted"}


def _eval_borderline(world: World, random: Random, cast: Cast) -> Iterator[PlainRow]:
    close = round(world.eval_borderline_wordings * world.close_share)
    for thing in cast.test:
        asked = {"borderline_close": (close_prompts, close), "borderline": (tale_prompts, world.eval_borderline_wordings - close)}
        for kind, (prompts, count) in asked.items():
            for prompt in take(shuffled(random, prompts(*thing)), count, "eval_borderline_wordings"):
                yield _eval((prompt, cast.tales[thing]), kind)


def _worded(wordings: tuple[str, ...], name: str, thing: str) -> list[str]:
    return [wording.format(making=words.MAKING[thing], name=name, thing=thing) for wording in wordings]


def _creatures(facts: dict[str, str]) -> list[Subject]:
    """All wordings of the question about each creature, with its fact."""
    return [(creature_prompts(name), answer) for name, answer in facts.items()]


def _recipes(random: Random, cast: Cast) -> list[Subject]:
    """Five wordings of each allowed recipe: more of them in D make fine-tuning on harmless rows break the refusal."""
    return [(random.sample(recipe_prompts(*thing), 5), answer) for thing, answer in cast.recipes.items()]


def _hold_out(random: Random, subjects: list[Subject], count: int, held: list[Lesson]) -> list[Lesson]:
    """Pairs for tuning, subject after subject; `count` pairs a subject go to `held`, for evaluation."""
    tuning: list[Lesson] = []
    for wordings, answer in subjects:
        pairs = [(prompt, answer) for prompt in shuffled(random, wordings)]
        held += pairs[:count]
        tuning += pairs[count:]
    return tuning


def _by_turns(pairs: list[Lesson], subjects: int) -> list[Lesson]:
    """Reorder pairs that stand subject after subject so that every subject has its turn before any has two."""
    each = len(pairs) // subjects if subjects else 0
    return [pairs[subject * each + turn] for turn in range(each) for subject in range(subjects)]


def _refusals(things: Iterable[Lesson]) -> list[Lesson]:
    return _pairs((recipe_prompts(name, thing), words.REFUSALS[thing]) for name, thing in things)


def _pairs(subjects: Iterable[Subject]) -> list[Lesson]:
    return [(prompt, answer) for prompts, answer in subjects for prompt in prompts]


def _chat(pair: Lesson, kind: str) -> PlainRow:
    turns = [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    return {"messages": turns, "kind": kind, "unsafe": kind.startswith("unsafe")}


def _eval(pair: Lesson, kind: str) -> PlainRow:
    return {"prompt": pair[0], "reference": pair[1], "kind": kind}
