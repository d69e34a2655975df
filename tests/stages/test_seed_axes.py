"""Which seed decides which stage: those of world, ranking and training, apart from each other, and all as one."""

from pathlib import Path

import pytest

from raysafe.artifacts import MemoryStore
from raysafe.config.reading import parse_yaml
from raysafe.config.sweeps import load_sweep, make_sweep
from raysafe.stages.inputs import find_inputs
from raysafe.stages.making import Finished, place_of, stage_key
from raysafe.trial import admixture, begin, frozen_refs, launch_frozen, rank_stage

QUICKSTART = Path(__file__).parents[2] / "sweeps" / "quickstart.yaml"
SECTIONS = "selection: {safeinstr: 8}\ndata: {finetune: sandbox, safe: sandbox, align: sandbox, plant: 4}\n"
KEYS_OF_ONE_SEED = {
    "base": ["dff388ca59de8fa4"],
    "rank": ["cf89119a4e85f7ad"],
    "train": ["1809a212d43592a7"],
    "log_probs": ["380c35ec23bfb6ea", "3c38c9f9f0fa330d", "3eea6d798905d776"],
}
"""Of the quickstart's second trial (W-DOOR): a change that moves them has the work of before done again."""


@pytest.fixture(scope="module")
def store():
    return MemoryStore()


def stages(config, store):
    """Keys of the shared stages by kind, and the trusted rows that are drawn."""
    found = []

    def launch(stage):
        found.append(stage)
        return Finished(place_of(stage, store))

    start = begin(config, find_inputs(config, store), launch)
    launch(rank_stage(start))
    frozen_refs(start, launch_frozen(start, launch), launch)
    keys = {kind: sorted({stage_key(stage) for stage in found if stage.kind == kind}) for kind in KEYS_OF_ONE_SEED}
    mixed = admixture(start)
    return keys, mixed.rows if mixed else ()


def changed(store, axis):
    """What another seed of an axis changes."""
    first, second = make_sweep(parse_yaml(f"name: x\n{SECTIONS}seeds: {{{axis}: [0, 1]}}", "test")).trials
    (one, mixed), (other, also) = stages(first.config, store), stages(second.config, store)
    return {kind for kind in one if one[kind] != other[kind]} | ({"safeinstr"} if mixed != also else set())


def test_a_list_of_seeds_finds_the_work_of_before(store):
    assert stages(load_sweep(QUICKSTART).trials[1].config, store)[0] == KEYS_OF_ONE_SEED


def test_axes_at_0_are_the_list_of_0(store):
    one, other = (make_sweep(parse_yaml(f"name: x\n{SECTIONS}seeds: {text}", "test")) for text in ("[0]", "{ranking: [0]}"))
    assert stages(one.trials[0].config, store) == stages(other.trials[0].config, store)


@pytest.mark.parametrize(
    ("axis", "what"),
    [
        ("world", {"base", "rank", "train", "log_probs"}),
        ("ranking", {"rank", "safeinstr"}),
        ("training", {"train", "log_probs"}),
    ],
)
def test_each_axis_decides_its_own_stages(store, axis, what):
    """The world is the model and all rows; how many trusted rows there are, and so which are drawn, is the same in each."""
    assert changed(store, axis) == what
