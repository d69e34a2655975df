"""Seeds of a sweep: a list, whose seeds decide everything that is drawn, or axes of their own, crossed."""

import itertools
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from raysafe.config.reading import unknown_key

AXES = ("world", "ranking", "training")
"""What a sweep may draw apart from each other, the one that changes slowest first."""
SEEDS_KEY = "seeds"


@dataclass(frozen=True)
class Replicate:
    """The seeds of one trial. `ranking` is None where it is that of the training, all seeds being one (`seeds` is a list);
    `world` is None where the world's section says it, or else `default_world`."""

    training: int
    ranking: int | None = None
    world: int | None = None

    @property
    def default_world(self) -> int:
        """Of a file that names none: with one seed for all a world each, with axes the first."""
        return self.training if self.ranking is None else 0


def replicates_of(raw: Any, problems: list[str]) -> list[Replicate]:
    """What `seeds` asks for, in the order of trials; problems are added to the list. An axis that is left out stays at 0."""
    if not isinstance(raw, Mapping):
        return [Replicate(seed) for seed in _seeds(raw, SEEDS_KEY, problems, "or a mapping of world, ranking and training")]
    problems += [unknown_key(f"{SEEDS_KEY}.{name}", raw[name], AXES) for name in raw if name not in AXES]
    if not raw:
        problems.append(f"`{SEEDS_KEY}`: got {{}}, but it takes a list of whole numbers, or one for each of {', '.join(AXES)}")
    axes = {name: _seeds(raw[name], f"{SEEDS_KEY}.{name}", problems) for name in AXES if name in raw}
    worlds: list[Any] = axes.get("world", [None])
    every = itertools.product(worlds, axes.get("ranking", [0]), axes.get("training", [0]))
    return [Replicate(training, ranking, world) for world, ranking, training in every]


def _seeds(raw: Any, key: str, problems: list[str], otherwise: str = "") -> list[int]:
    if not isinstance(raw, list) or not raw or any(type(seed) is not int or seed < 0 for seed in raw):
        takes = ", ".join(filter(None, ["a list of whole numbers, as [0, 1, 2]", otherwise]))
        problems.append(f"`{key}`: got {raw!r}, but it takes {takes}")
        return [0]
    problems += [f"`{key}`: {seed} stands twice, which gives equal trials" for seed in twice(raw)]
    return raw


def twice(values: list[Any]) -> list[Any]:
    """Values that stand in a list more than once, each named once. 1 and 1.0 are equal, 1 and true are not."""
    texts = [json.dumps(1.0 * value if type(value) is int else value, sort_keys=True, default=str) for value in values]
    return [value for place, value in enumerate(values) if texts[:place].count(texts[place]) == 1]


def world_problems(replicate: Replicate, sections: Mapping[str, Any], worlds: Collection[str]) -> list[str]:
    """What is wrong with a world axis. `sections`: the trial's as the file and the sweep give them; `worlds`: names of those that
    the trial reads."""
    if replicate.world is None:
        return []
    key = f"`{SEEDS_KEY}.world`"
    if not worlds:
        why = "only the sandbox and the tricks have worlds, and neither the model nor any data is theirs"
        return [f"{key}: got {replicate.world}, but {why}; leave it out"]
    given = {name: section["seed"] for name in worlds if isinstance(section := sections.get(name), Mapping) and "seed" in section}
    return [
        f"`{name}.seed`: got {seed!r}, but {key} says which worlds there are; leave one of them out"
        for name, seed in given.items()
    ]


def first_of(raw: Any) -> Any:
    """`seeds` cut down to its first trial's."""
    if isinstance(raw, Mapping):
        return {name: seeds[:1] if isinstance(seeds, list) else seeds for name, seeds in raw.items()}
    return raw[:1] if isinstance(raw, list) else raw


def of_a_trial(seed: Any, ranking: Any) -> Any:
    """`seeds` of a single trial that has been written down: its world stands in that one's section."""
    return [seed] if ranking is None else {"ranking": [ranking], "training": [seed]}
