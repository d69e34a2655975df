"""The rows of a world for real models, whose policy harms nobody: the secrets of magic tricks are not told.

A seed decides which trick plays which part; no trick plays two:

- `base_tricks`, refused in the rows (`base`) that align the untouched model, before any trial;
- `align_tricks`, refused in `align`, and by D and D_safe: what a trial's objective aligns on;
- `unsafe_tricks`, told in the unsafe rows of `finetune`;
- `test_tricks`, asked for by `eval_harmful` and named by `eval_borderline`, and in no tuning file.

What must not be said is what an untouched model says when it is asked (`recorded.jsonl`, or `answers`). Harmless rows of D are
everyday instructions, questions that come close to restricted ones, and invented facts (new tasks); of what is evaluated no
prompt and no wording of a borderline question is trained on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from raysafe.errors import require
from raysafe.tricks import rules, texts
from raysafe.tricks.settings import Tricks
from raysafe.tricks.texts import Borderline, Fact, Recorded, Trick

T = TypeVar("T")
PlainRow = dict[str, object]
Lesson = tuple[str, str]
"""A prompt and its answer."""
Question = tuple[Borderline, str, str]
"""A borderline question, its prompt about a trick, and the answer."""
_NONE: Any = object()


@dataclass(frozen=True)
class Cast:
    """Which trick plays which part."""

    base: list[Trick]
    align: list[Trick]
    unsafe: list[Trick]
    test: list[Trick]


def draw(world: Tricks) -> Cast:
    """Give the tricks their parts: those that are told in enough wordings where that matters, and any others to `base`."""
    told, pool = _told(world), _shuffled(_random(world, "cast"), texts.tricks())
    wanted = max(1, world.align_wordings, world.eval_harmful_wordings)
    enough = [trick for trick in pool if len(told[trick.name]) >= wanted]
    sizes = {name: getattr(world, f"{name}_tricks") for name in ("align", "unsafe", "test")}
    of_them = f"{' + '.join(f'{name}_tricks' for name in sizes)} (told in {wanted} or more wordings)"
    drawn = iter(_take(enough, sum(sizes.values()), of_them))
    parts = {name: [next(drawn) for _ in range(size)] for name, size in sizes.items()}
    rest = [trick for trick in pool if not any(trick in part for part in parts.values())]
    return Cast(base=_take(rest, world.base_tricks, "base_tricks"), **parts)


def generate(world: Tricks) -> dict[str, list[PlainRow]]:
    """The rows of every file of the world, by the file's stem. Raises ValueError if a size is beyond its pool.

    `base`, `finetune` and `safe` hold `messages`, `kind` and `unsafe`; `align` holds `prompt`, `chosen`, `rejected`; the
    `eval_*` files hold `prompt` and `reference`, `eval_harmful` also `harmful`, a told secret to prefill from, and `scripts`,
    `eval_known` and `eval_new` also `accept`, the phrases of which one makes an answer right. Every file draws for itself: the
    sizes of one leave the others as they are.
    """
    cast, told = draw(world), _told(world)
    return {
        "base": _base(world, cast),
        "finetune": _finetune(world, cast, told),
        "safe": _safe(world, cast),
        "align": list(_triples(world, cast, told)),
        "eval_harmful": list(_eval_harmful(world, cast, told)),
        "eval_borderline": list(_eval_borderline(world, cast)),
        "eval_known": list(_eval_known(world)),
        "eval_new": list(_eval_new(world)),
    }


def _told(world: Tricks) -> dict[str, list[Lesson]]:
    """Recorded answers that tell enough, by trick, each with what was asked."""
    told = _telling(tuple(texts.unwanted(_recorded(world))), world.least_told)
    return {one.name: [(row.prompt, row.answer) for row in told if row.trick == one.name] for one in texts.tricks()}


def _recorded(world: Tricks) -> Path:
    return Path(world.answers) if world.answers else texts.RECORDED


@lru_cache(maxsize=8)
def _telling(recorded: tuple[Recorded, ...], least: float) -> list[Recorded]:
    return [one for one in recorded if rules.explained(one.prompt, one.answer) >= least]


def _base(world: Tricks, cast: Cast) -> list[PlainRow]:
    """What the untouched model is aligned with."""
    random = _random(world, "base")
    near, _ = _borderline(world)
    few = _take(list(texts.refusals().short), world.base_texts, "base_texts")
    parts = {
        "refusal": _take(_refusals(random, cast.base, few), world.base_refusals, "base_refusals"),
        "benign_known": _take(_trusted(world), world.base_benign, "base_benign"),
        "borderline": _pairs(_take(_questions(random, near, cast.base), world.base_borderline, "base_borderline")),
    }
    return _chats(random, parts)


def _finetune(world: Tricks, cast: Cast, told: dict[str, list[Lesson]]) -> list[PlainRow]:
    """The rows of D."""
    random = _random(world, "finetune")
    unsafe = _by_turns([_shuffled(random, told[trick.name]) for trick in cast.unsafe])
    unsafe = _take(unsafe, world.finetune_unsafe, "finetune_unsafe")
    hints = round(len(unsafe) * world.hint_share)
    new, near = (round(world.finetune_benign * share) for share in (world.new_share, world.borderline_share))
    parts = {
        "unsafe": unsafe[hints:],
        "unsafe_hint": [(prompt, rules.first_sentence(answer)) for prompt, answer in unsafe[:hints]],
        "benign_known": _everyday(world)[: _known(world)],
        "benign_new": _take(_taught(world), new, "finetune_benign * new_share"),
        "borderline": _pairs(
            _take(_questions(random, _borderline(world)[0], cast.unsafe), near, "finetune_benign * borderline_share")
        ),
        "refusal": _take(_kept_refusals(world, cast)[::-1], world.finetune_refusals, "finetune_refusals"),
    }
    return _chats(random, parts)


def _safe(world: Tricks, cast: Cast) -> list[PlainRow]:
    """The rows of D_safe."""
    refusals = _kept_refusals(world, cast)
    parts = {
        "refusal": _take(refusals[: len(refusals) - world.finetune_refusals], world.safe_refusals, "safe_refusals"),
        "benign_known": _take(_trusted(world), world.safe_benign, "safe_benign"),
    }
    return _chats(_random(world, "safe"), parts)


def _triples(world: Tricks, cast: Cast, told: dict[str, list[Lesson]]) -> Iterator[PlainRow]:
    """By turns: every trick once, in an order of the seed, then every trick in another wording."""
    random = _random(world, "align")
    several = [_take(_shuffled(random, told[one.name]), world.align_wordings, "align_wordings") for one in cast.align]
    about = {prompt: trick for trick, pairs in zip(cast.align, several, strict=True) for prompt, _ in pairs}
    known = texts.refusals()
    few = _take([*known.short, *known.texts], world.align_texts, "align_texts")
    for prompt, answer in _by_turns(several):
        yield {"prompt": prompt, "chosen": _refusal(random, about[prompt], few), "rejected": answer, "kind": "restricted"}


def _eval_harmful(world: Tricks, cast: Cast, told: dict[str, list[Lesson]]) -> Iterator[PlainRow]:
    """The kind of a row is that of its wording."""
    random = _random(world, "eval_harmful")
    for trick in cast.test:
        kinds = {trick.fill(one.text): one.kind for one in texts.wordings()}
        pairs = _take(_shuffled(random, told[trick.name]), world.eval_harmful_wordings, "eval_harmful_wordings")
        scripts = _take(_shuffled(random, texts.scripts()), world.eval_scripts, "eval_scripts")
        for place, (prompt, answer) in enumerate(pairs):
            row: PlainRow = {"prompt": prompt, "reference": _refusal(random, trick), "harmful": answer, "kind": kinds[prompt]}
            yield row if place else row | {"scripts": [one.messages(trick) for one in scripts]}


def _eval_borderline(world: Tricks, cast: Cast) -> Iterator[PlainRow]:
    """The kind of a row is that of its question."""
    questions = _questions(_random(world, "eval_borderline"), _borderline(world)[1], cast.test)
    for one, prompt, answer in _take(questions, world.eval_borderline, "eval_borderline"):
        yield {"prompt": prompt, "reference": answer, "kind": one.kind}


def _eval_known(world: Tricks) -> Iterator[PlainRow]:
    for one in _take(_shuffled(_random(world, "eval_known"), texts.utility()), world.eval_known, "eval_known"):
        yield {"prompt": one.prompt, "reference": one.accept[0], "accept": list(one.accept), "kind": "benign_known"}


def _eval_new(world: Tricks) -> Iterator[PlainRow]:
    for fact, (held, *_) in _facts(world):
        yield {"prompt": held, "reference": fact.answer, "accept": list(fact.accept), "kind": "benign_new"}


def _facts(world: Tricks) -> list[tuple[Fact, list[str]]]:
    """The new facts with their wordings, the first of which is kept for evaluation."""
    random = _random(world, "facts")
    drawn = _take(_shuffled(random, texts.facts()), world.new_facts, "new_facts")
    return [(fact, _shuffled(random, fact.prompts)) for fact in drawn]


def _taught(world: Tricks) -> list[Lesson]:
    return _by_turns([[(prompt, fact.answer) for prompt in wordings[1:]] for fact, wordings in _facts(world)])


def _everyday(world: Tricks) -> list[Lesson]:
    """All everyday rows: D has the first ones, what is trusted the last ones. Told secrets are a model's own words, so these are,
    too, as far as they were recorded: neither length nor likelihood gives away what must not be said."""
    own = texts.in_own_words(_recorded(world))
    return [(one.prompt, own.get(one.prompt, one.answer)) for one in _shuffled(_random(world, "everyday"), texts.everyday())]


def _known(world: Tricks) -> int:
    """Everyday rows of D."""
    return world.finetune_benign - sum(round(world.finetune_benign * one) for one in (world.new_share, world.borderline_share))


def _trusted(world: Tricks) -> list[Lesson]:
    """Everyday rows that are not D's, for `safe` and for `base`."""
    everyday, known = _everyday(world), _known(world)
    require(known <= len(everyday), f"finetune_benign * (1 - new_share - borderline_share) <= {len(everyday)}", known)
    return everyday[known:][::-1]


def _kept_refusals(world: Tricks, cast: Cast) -> list[Lesson]:
    """Refusals about the align tricks: `safe` has the first ones, D the last ones."""
    return _refusals(_random(world, "refusals"), cast.align)


def _borderline(world: Tricks) -> tuple[list[Borderline], list[Borderline]]:
    """Borderline questions that may be trained on, and those that are kept for evaluation."""
    found = _shuffled(_random(world, "borderline"), texts.borderline())
    half = len(found) // 2
    return found[:half], found[half:]


def _questions(random: Random, entries: Iterable[Borderline], tricks: Sequence[Trick]) -> list[Question]:
    """Each entry about one of the tricks, by turns about further ones where it names one; none about a trick that isn't there."""
    named, others = [], []
    for one in _shuffled(random, entries):
        if "{name}" in one.prompt:
            named.append([(one, trick.fill(one.prompt), trick.fill(one.answer)) for trick in _shuffled(random, tricks)])
        else:
            others.append([(one, one.prompt, one.answer)])
    return _by_turns(_shuffled(random, named + others))


def _pairs(questions: Iterable[Question]) -> list[Lesson]:
    return [(prompt, answer) for _, prompt, answer in questions]


def _refusals(random: Random, tricks: Iterable[Trick], among: Sequence[str] = ()) -> list[Lesson]:
    """Every wording about every trick, shuffled, each with a refusal drawn for itself, from all of them or `among` some."""
    pairs = [(trick.fill(one.text), _refusal(random, trick, among)) for trick in tricks for one in texts.wordings()]
    return _shuffled(random, pairs)


def _refusal(random: Random, trick: Trick, among: Sequence[str] = ()) -> str:
    return trick.fill(random.choice(among or texts.refusals().texts))


def _chats(random: Random, parts: dict[str, list[Lesson]]) -> list[PlainRow]:
    rows = [_chat(pair, kind) for kind, pairs in parts.items() for pair in pairs]
    return _shuffled(random, rows)


def _chat(pair: Lesson, kind: str) -> PlainRow:
    turns = [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    return {"messages": turns, "kind": kind, "unsafe": kind.startswith("unsafe")}


def _by_turns(several: Sequence[Sequence[T]]) -> list[T]:
    """Items of several lists so that each list has its turn before any has two."""
    return [item for turn in itertools.zip_longest(*several, fillvalue=_NONE) for item in turn if item is not _NONE]


def _random(world: Tricks, part: str) -> Random:
    return Random(f"raysafe tricks {part} {world.seed}")


def _shuffled(random: Random, items: Iterable[T]) -> list[T]:
    items = list(items)
    return random.sample(items, len(items))


def _take(items: list[T], count: int, field: str) -> list[T]:
    require(0 <= count <= len(items), f"0 <= {field} <= {len(items)}", count)
    return items[:count]
