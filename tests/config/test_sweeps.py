"""What a sweep file means, and what is refused before anything starts."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from raysafe.config.reading import parse_yaml
from raysafe.config.sweeps import load_sweep, make_sweep
from raysafe.errors import ConfigError
from raysafe.objectives import OBJECTIVES
from raysafe.objectives.sft import Sft
from raysafe.objectives.wdoor import WDoor
from raysafe.selection import SELECTORS

SWEEPS = sorted((Path(__file__).parents[2] / "sweeps").glob("*.yaml"))


def sweep(text=""):
    return make_sweep(parse_yaml("name: test\n" + text, "test"))


def trial(text=""):
    (plan,) = sweep(text).trials
    return plan.config


def refused(text, *says):
    with pytest.raises(ConfigError) as caught:
        sweep(text)
    message = str(caught.value)
    assert all(part in message for part in says), message
    return message


def test_a_name_is_enough():
    (plan,) = sweep().trials
    assert plan.name == "000-seed0" and plan.config.seed == 0 and dict(plan.swept) == {}


def test_the_papers_settings_are_the_defaults_for_a_model_of_ones_own():
    config = trial("model: {path: some/model}\ndata: {finetune: d, safe: s, align: a}\nevaluation: {harmful: h}")
    assert isinstance(config.objective, WDoor) and config.objective.tau == 5.0
    assert (config.training.epochs, config.training.batch_size, config.training.lr) == (10, 2, 1e-5)
    assert (config.selector.epochs, config.selector.batch_size, config.selector.model_lr) == (3, 64, 1e-5)
    assert config.percent == 80 and config.data.max_length == 512 and config.data.prefix.max_tokens == 100


def test_the_sandboxs_recommended_settings_lie_beneath_the_files_own():
    config = trial("training: {lr: 7e-4}")
    assert config.evaluation.judge == "sandbox" and config.training.lr == 7e-4
    assert config.training.batch_size == trial().training.batch_size != 2


def test_a_configuration_is_frozen():
    with pytest.raises(FrozenInstanceError):
        trial().seed = 3


def test_gamma_one_and_a_half_is_refused_with_the_rule():
    refused("selector: {gamma: 1.5}", "`selector.gamma`: `0 <= gamma < 1` must hold, but got 1.5")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("selector: {gama: 0.5}", "did you mean `gamma`?"),
        ("traning: {lr: 1}", "did you mean `training`?"),
        ("seed: 1", "did you mean `seeds`?"),
        ("training: {learning_rate: 1}", "`training.learning_rate`: unknown key"),
        ("objective: {name: sft, tau: 3}", "`objective.tau`: unknown key (got 3) It takes no settings"),
    ],
)
def test_an_unknown_key_is_refused_with_what_was_probably_meant(text, says):
    refused(text, "unknown key", says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("objective: wdor", "`objective.name`: got 'wdor', but it takes one of sft"),
        ("selector: {name: 3}", "`selector.name`: got "),
        ("selector: {name: [seal]}", "`selector.name`: got "),
        ("objective: [sft]", "`objective`"),
        ("training: 3", "`training`: got 3, but it takes a mapping"),
        ("seeds: 3", "`seeds`: got 3"),
        ("seeds: []", "`seeds`: got []"),
        ("seeds: [true]", "`seeds`"),
        ("seeds: [-1]", "`seeds`"),
        ("seeds: [0, 1, 0]", "`seeds`: 0 stands twice"),
        ("sweep: {grid: {selector.gamma: [0.1, 0.2, 0.10]}}", "`sweep.grid.selector.gamma`: 0.1 stands twice"),
        ("sweep: {grid: {training.epochs: [1, 1.0]}}", "`sweep.grid.training.epochs`: 1.0 stands twice"),
        ("sweep: {points: [{objective: sft}, {objective: sft}]}", "`sweep`: the trials 000-sft_seed0 and 001-sft_seed0"),
        ("sweep: {points: [{objective: sft}, {objective: {name: sft}}]}", "have the same settings"),
        ("sandbox: {safe_benign: 360}", "`sandbox.safe_benign`: `0 <= safe_benign <= "),
        ("sandbox: {new_share: 0.6}", "`sandbox.finetune_benign`: `0 <= finetune_benign * new_share <= "),
        ("data: {max_length: 257}", "`data.max_length`: got 257, but it takes at most the sandbox model's 256 positions"),
        ("sandbox: {new_share: 1.5}", "`sandbox.new_share`: `new_share <= 1` must hold, but got 1.5"),
        (
            "sandbox: {test_entities: 400}",
            "`sandbox.align_entities`: `0 <= align_entities + test_entities + unsafe_entities + seen_entities <= ",
        ),
        ("sandbox: {eval_known: -1}", "`sandbox.eval_known`: `eval_known >= 0` must hold"),
        ("question: 3", "`question`"),
        ("sweep: {grid: {training.lr: 3}}", "`sweep.grid.training.lr`"),
        ("sweep: {grid: {training.lr: []}}", "`sweep.grid.training.lr`: got [], but it takes at least one value"),
        ("sweep: {grid: {foo.bar: [1]}}", "`sweep: foo.bar`: unknown key"),
        ("sweep: {grids: {}}", "`sweep.grids`"),
        ("scheduler: ashaa", "`scheduler.name`"),
        ("resources: {workers: 0}", "`workers > 0` must hold"),
    ],
)
def test_a_wrong_value_is_refused_by_its_key(text, says):
    refused(text, says)


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "3.5", "null"])
def test_a_sweeps_name_names_a_folder(name):
    with pytest.raises(ConfigError, match="`name`: got "):
        make_sweep(parse_yaml(f"name: {name}", "test"))


def test_every_problem_is_told_at_once_and_once():
    text = "selector: {gamma: 2}\ntraining: {epochs: x}\nobjective: nope\nzzz: 1\nseeds: [0, 1, 2]"
    message = refused(text, "`selector.gamma`", "`training.epochs`", "`objective.name`", "`zzz`")
    assert message.count("`selector.gamma`") == 1


def test_the_grid_is_walked_seed_by_seed_with_the_last_key_fastest():
    plans = sweep("seeds: [0, 5]\nsweep: {grid: {selector.gamma: [0.1, 0.2], selection.percent: [10, 50]}}").trials
    assert [(p.config.seed, p.config.selector.gamma, p.config.percent) for p in plans] == [
        (seed, gamma, percent) for seed in (0, 5) for gamma in (0.1, 0.2) for percent in (10, 50)
    ]
    assert plans[1].name == "001-gamma0.1_percent50_seed0" and plans[7].name.startswith("007-")
    assert dict(plans[1].swept) == {"selector.gamma": 0.1, "selection.percent": 50}


def test_names_are_unique_and_fit_a_folder():
    plans = sweep("seeds: [0, 1]\nsweep: {grid: {training.lr: [1e-5, 1e-4], objective: [sft, door]}}").trials
    names = [plan.name for plan in plans]
    assert len(set(names)) == 8 and all(len(name) <= 80 and "/" not in name for name in names)


def test_points_stand_alone_or_follow_the_grid():
    points = "points: [{objective: sft}, {objective: {name: wdoor, tau: 3}, selector: random}]"
    alone, both = sweep(f"sweep: {{{points}}}").trials, sweep(f"sweep: {{grid: {{training.lr: [1e-3]}}, {points}}}").trials
    assert len(alone) == 2 and len(both) == 3
    assert dict(alone[1].swept) == {"objective.name": "wdoor", "objective.tau": 3, "selector.name": "random"}
    assert alone[1].config.objective.tau == 3.0 and dict(both[0].swept) == {"training.lr": 1e-3}


def test_one_point_leaves_nothing_behind_for_the_next():
    first, second = sweep("sweep: {points: [{objective.tau: 3}, {training.epochs: 1}]}").trials
    assert first.config.objective.tau == 3 and second.config.objective.tau == 5 and second.config.training.epochs == 1


def test_switching_the_objective_drops_the_others_settings():
    plans = sweep("objective: {name: wdoor, tau: 3}\nsweep: {grid: {objective: [sft, wdoor]}}").trials
    assert isinstance(plans[0].config.objective, Sft)
    assert plans[0].name == "000-sft_seed0"


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_can_be_named(name):
    assert trial(f"objective: {name}").objective.name == name


@pytest.mark.parametrize("name", SELECTORS)
def test_every_selector_can_be_named(name):
    assert trial(f"selector: {name}").selector.name == name


def test_each_seed_has_a_world_of_its_own_unless_the_file_names_one():
    assert [plan.config.sandbox.seed for plan in sweep("seeds: [0, 4]").trials] == [0, 4]
    assert [plan.config.sandbox.seed for plan in sweep("seeds: [0, 4]\nsandbox: {seed: 2}").trials] == [2, 2]


def test_a_selector_that_keeps_all_keeps_100_percent_and_refuses_another_share():
    assert trial("selector: none").percent == 100 and trial("selector: none\nselection: {percent: 100}").percent == 100
    refused("selector: none\nselection: {percent: 50}", "`selection.percent`: got 50 with selector `none`")


def test_a_share_outside_0_to_100_is_refused():
    refused("selection: {percent: 0}", "`0 < percent <= 100` must hold")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("training: {batch_size: 6}", "training.batch_size"),
        ("training: {batch_size: 8, accumulation: 4}", "training.batch_size"),
        ("selector: {batch_size: 6}", "selector.batch_size"),
        ("selector: {safe_batch_size: 6}", "selector.safe_batch_size"),
        ("proxy: {batch_size: 6}", "proxy.batch_size"),
    ],
)
def test_a_batch_that_cannot_be_split_over_workers_and_accumulation_is_refused(text, key):
    refused(f"{text}\nresources: {{workers: 4}}", f"`{key}`: got ", "a multiple of workers * accumulation")


def test_batches_that_no_stage_uses_are_not_complained_about():
    assert trial("objective: door\nproxy: {batch_size: 6}\nresources: {workers: 4}")


def test_a_setting_is_overridden_from_the_command_line(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("name: a\ntraining: {lr: 1e-3, epochs: 3}\nobjective: wdoor\n")
    (plan,) = load_sweep(path, ["training.lr=1e-5", "objective.tau=3", "seeds=[7]", "sandbox.eval_known=20"]).trials
    config = plan.config
    assert (config.training.lr, config.training.epochs, config.objective.tau, config.seed) == (1e-5, 3, 3.0, 7)


@pytest.mark.parametrize("text", ["training.lr", "=3", ""])
def test_an_override_without_key_or_value_is_refused(tmp_path, text):
    (tmp_path / "a.yaml").write_text("name: a\n")
    with pytest.raises(ConfigError, match="--set takes KEY=VALUE"):
        load_sweep(tmp_path / "a.yaml", [text])


def test_an_error_names_the_file(tmp_path):
    (tmp_path / "a.yaml").write_text("name: a\nzzz: 1\n")
    with pytest.raises(ConfigError, match="a.yaml: `zzz`"):
        load_sweep(tmp_path / "a.yaml")


def test_trials_can_stop_early_by_a_schedulers_name():
    assert sweep("scheduler: asha").scheduler.name == "asha"


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.name)
def test_every_sweep_of_the_repository_loads_and_asks_a_question(path):
    loaded = load_sweep(path)
    assert loaded.trials and loaded.question


def test_texts_are_recorded_only_where_all_are_the_sandboxs_or_it_is_asked_for():
    own = "evaluation: {harmful: prompts.jsonl}\n"
    assert sweep().logs_text and not sweep(own).logs_text
    assert sweep(own + "tracking: {log_text: true}").logs_text and not sweep("tracking: {log_text: false}").logs_text


def test_what_is_tracked_is_part_of_no_trial():
    plain, told = sweep(), sweep("tracking: {register: best model, best: utility, mode: min}")
    assert plain.trials == told.trials and told.tracking.register == "best model"


@pytest.mark.parametrize("text", ["{register: a/b}", "{mode: most}", "{best: ''}", "{logtext: true}", "{log_text: 3}"])
def test_wrong_tracking_is_refused(text):
    refused(f"tracking: {text}", "tracking.")
