"""Seeds as a list or as axes: which trials there are, what is drawn by which, and that a list means what it always did."""

import pytest
import yaml

from raysafe.artifacts import MemoryStore, fingerprint, plain
from raysafe.commands.base import single
from raysafe.config.defaults import departures
from raysafe.config.reading import parse_yaml
from raysafe.config.sweeps import load_sweep, make_sweep
from raysafe.errors import ConfigError
from raysafe.stages.inputs import find_inputs
from raysafe.sweep.written import trial_document, trial_fingerprint

AXES = "name: x\nseeds: {world: [0, 1], ranking: [0, 1], training: [0, 1, 2]}\n"
OWN = "model: {path: some/model}\ndata: {finetune: d, safe: s, align: a}\nevaluation: {harmful: h}\n"


def plans(text):
    return make_sweep(parse_yaml(text, "test")).trials


def drawn_by(plan):
    return plan.config.sandbox.seed, plan.config.ranks_by, plan.config.seed


def test_axes_are_crossed_with_the_trainings_fastest():
    found = [drawn_by(plan) for plan in plans(AXES)]
    assert found[:4] == [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 0)] and len(set(found)) == 12


def test_a_list_moves_everything_together():
    assert [drawn_by(plan) for plan in plans("name: x\nseeds: [0, 4]")] == [(0, 0, 0), (4, 4, 4)]
    assert [plan.axes for plan in plans("name: x\nseeds: [0, 4]")] == [{}, {}]


@pytest.mark.parametrize(
    ("seeds", "drawn"),
    [
        ("{training: [3, 4]}", [(0, 0, 3), (0, 0, 4)]),
        ("{ranking: [5]}", [(0, 5, 0)]),
        ("{world: [2, 7]}", [(2, 0, 0), (7, 0, 0)]),
    ],
)
def test_an_axis_that_is_left_out_stays_at_0(seeds, drawn):
    assert [drawn_by(plan) for plan in plans(f"name: x\nseeds: {seeds}")] == drawn


def test_the_sandboxs_own_seed_stands_where_no_axis_says_another():
    plan, *_ = plans("name: x\nseeds: {training: [1]}\nsandbox: {seed: 6}")
    assert drawn_by(plan) == (6, 0, 1) and plan.axes == {"seed_world": 6, "seed_ranking": 0}


def test_names_and_axes_tell_the_seeds_apart():
    last = plans(AXES)[-1]
    assert last.name == "011-world1_ranking1_seed2" and last.axes == {"seed_world": 1, "seed_ranking": 1}
    assert len({plan.name for plan in plans(AXES)}) == 12


def test_a_world_that_the_sweep_sets_is_a_setting_and_no_axis():
    found = plans("name: x\nseeds: {training: [0, 1]}\nsweep: {grid: {sandbox.seed: [3, 4]}}")
    assert [(plan.swept["sandbox.seed"], plan.config.sandbox.seed, plan.config.seed) for plan in found] == [
        (3, 3, 0), (4, 4, 0), (3, 3, 1), (4, 4, 1),
    ]  # fmt: skip
    assert {tuple(plan.axes) for plan in found} == {("seed_ranking",)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seeds: {}", "`seeds`: got {}"),
        ("seeds: {worlds: [0]}", "did you mean `world`?"),
        ("seeds: {world: 3}", "`seeds.world`: got 3, but it takes a list of whole numbers"),
        ("seeds: {training: [0, 1, 0]}", "`seeds.training`: 0 stands twice"),
        ("seeds: {world: [0, 1]}\nsandbox: {seed: 3}", "`sandbox.seed`: got 3, but `seeds.world` says"),
        ("seeds: {world: [0]}\nsweep: {grid: {sandbox.seed: [3]}}", "`sandbox.seed`: got 3, but `seeds.world` says"),
        (f"{OWN}seeds: {{world: [0, 1]}}", "`seeds.world`: got 0, but only the sandbox and the tricks have worlds"),
    ],
)
def test_seeds_that_mean_nothing_are_refused_by_their_key(text, says):
    with pytest.raises(ConfigError) as caught:
        plans(f"name: x\n{text}")
    assert says in str(caught.value)


def test_a_model_of_ones_own_has_axes_of_ranking_and_training_alone():
    plan, *_ = plans(f"name: x\n{OWN}seeds: {{ranking: [1], training: [2]}}")
    assert plan.axes == {"seed_ranking": 1} and plan.name == "000-ranking1_seed2"


def test_a_trial_of_a_list_has_the_fingerprint_that_it_always_had():
    """What names a single trial's folder, and what says whether a sweep goes on: the field that came later isn't in it."""
    config = plans("name: x\nseeds: [4]")[0].config
    before = plain(config, for_key=True)
    assert "ranking_seed" not in before and fingerprint(config) == fingerprint(before)
    assert fingerprint(plans("name: x\nseeds: {training: [4]}\nsandbox: {seed: 4}")[0].config) != fingerprint(config)


def test_what_a_trial_writes_is_read_as_the_same_trial():
    plan = plans(AXES)[-1]
    written = yaml.safe_dump(trial_document("x", plan.config, find_inputs(plan.config, MemoryStore())))
    (again,) = make_sweep(parse_yaml(written, "config.yaml")).trials
    assert again.config == plan.config and again.axes == plan.axes
    assert trial_fingerprint(again.config) == trial_fingerprint(plan.config)


def test_seeds_on_axes_are_no_departure_from_what_the_file_must_say():
    assert departures(plans(AXES)[-1].config) == departures(plans("name: x\nseeds: [2]")[0].config)


def test_a_single_trial_takes_the_first_of_every_axis(tmp_path):
    (tmp_path / "x.yaml").write_text(AXES)
    arguments = type("Arguments", (), {"file": tmp_path / "x.yaml", "overrides": ["seeds.training=[5, 6]"]})
    assert [drawn_by(plan) for plan in single(arguments).trials] == [(0, 0, 5)]
    assert len(load_sweep(tmp_path / "x.yaml").trials) == 12
