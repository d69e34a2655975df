"""Objectives as a sweep's file gives them, and as the documentation names them."""

from dataclasses import fields
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from raysafe.config.sweeps import make_sweep
from raysafe.errors import ConfigError
from raysafe.objectives import OBJECTIVES
from raysafe.objectives.token_weights import TOKEN_WEIGHTS
from raysafe.objectives.unlearning import UNLEARNING
from raysafe.objectives.wdoor import WDoor

ROOT = Path(__file__).parents[2]
DOCS = {page: (ROOT / "docs" / page).read_text(encoding="utf-8") for page in ("methods.md", "configuration.md")}


def objectives(grid, **raw):
    return [plan.config.objective for plan in make_sweep({"name": "try", "sweep": {"grid": grid}, **raw}).trials]


def test_the_settings_literals_and_the_tables_name_the_same_variants():
    hints = get_type_hints(WDoor)
    assert get_args(hints["weights"]) == tuple(TOKEN_WEIGHTS)
    assert get_args(hints["unlearning"]) == tuple(UNLEARNING)


def test_a_sweep_over_the_weights_works_on_top_of_the_sandboxs_recommended_tau_and_cap():
    found = objectives({"objective.weights": list(TOKEN_WEIGHTS)})
    assert [one.weights for one in found] == list(TOKEN_WEIGHTS)
    assert all((one.tau, one.weight_cap) == (5.0, 5.0) for one in found)


def test_a_sweep_over_both_families_of_variants_works():
    found = objectives({"objective.weights": list(TOKEN_WEIGHTS), "objective.unlearning": list(UNLEARNING)})
    assert len({(one.weights, one.unlearning) for one in found}) == 16


def test_each_variant_takes_its_own_numbers_as_a_mapping_in_the_grid():
    chosen = [{"name": "wdoor", "weights": "exp", "tau": 1.0}, {"name": "wdoor", "weights": "sigmoid", "slope": 2.0}]
    assert [(one.tau, one.slope) for one in objectives({"objective": chosen})] == [(1.0, 1.0), (5.0, 2.0)]


def test_a_number_that_the_variant_does_not_read_is_refused_under_its_key():
    with pytest.raises(ConfigError, match=r"`objective.tau`: `tau is left at 5.0 with weights sigmoid, which has no tau` must"):
        objectives({"objective.weights": ["exp", "sigmoid"]}, objective={"name": "wdoor", "tau": 3.0})


def test_an_unknown_variant_is_told_what_there_is():
    with pytest.raises(ConfigError, match=r"`objective.unlearning`: got \"none\".*'token', 'sequence', 'released' or"):
        objectives({"objective.unlearning": ["none"]})


def test_the_released_unlearning_needs_no_reference_on_harmful_rows_but_the_weights_do_on_safe_ones():
    (trial,) = make_sweep({"name": "try", "objective": {"name": "wdoor", "unlearning": "released"}}).trials
    assert "harmful" not in trial.config.objective.frozen_models
    assert trial.config.needed_models == {"reference", "proxy"}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_setting_of_every_objective_stands_in_the_table(name):
    for field in fields(OBJECTIVES[name]):
        assert f"| `objective.{field.name}` |" in DOCS["configuration.md"]


@pytest.mark.parametrize("name", [*OBJECTIVES, *TOKEN_WEIGHTS, *UNLEARNING])
@pytest.mark.parametrize("page", DOCS)
def test_every_variant_is_documented(name, page):
    assert f"`{name}`" in DOCS[page]
