"""SEAL's gamma over the epochs: every form of a schedule, and what is said of the wrong ones."""

import json
import sys
from dataclasses import replace
from functools import partial

import pytest

from raysafe.artifacts import fingerprint
from raysafe.config.sweeps import make_sweep
from raysafe.errors import ConfigError
from raysafe.selection import Seal

VALUES = (0.0, 0.25, 0.5)


def quarter(epoch):
    return epoch / 4


def third(epoch):
    return epoch / 3


@pytest.fixture
def ramps(tmp_path, monkeypatch):
    """A user's own module."""
    (tmp_path / "ramps_of_mine.py").write_text("def quarter(epoch):\n    return epoch / 4\nFIVE = 5\nempty = {}.__getitem__\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "ramps_of_mine"
    sys.modules.pop("ramps_of_mine", None)


def seal_of(**settings):
    """By YAML's way in: plain values over the sandbox's recommended ones."""
    return make_sweep({"name": "t", "selector": {"name": "seal", "epochs": 3, **settings}}).trials[0].config.selector


def refused(**settings):
    with pytest.raises(ConfigError) as caught:
        seal_of(**settings)
    return str(caught.value)


@pytest.mark.parametrize("schedule", [list(VALUES), VALUES, quarter, lambda epoch: 0.25 * epoch])
def test_lists_and_callables_end_as_the_same_values(schedule):
    seal = Seal(schedule=schedule)
    assert seal.schedule == VALUES and seal == Seal(schedule=VALUES) and seal.gamma is None
    assert [seal.gamma_at(epoch) for epoch in range(3)] == list(VALUES)


def test_from_python_a_sweep_takes_the_function_itself_wherever_it_takes_a_path():
    seal = {"name": "seal", "epochs": 3}
    one = make_sweep({"name": "t", "selector": {**seal, "schedule": quarter}})
    several = make_sweep({"name": "t", "selector": seal, "sweep": {"grid": {"selector.schedule": [quarter, third, "constant"]}}})
    assert one.trials[0].config.selector.schedule == VALUES
    assert [plan.config.selector.schedule for plan in several.trials] == [VALUES, (0.0, 1 / 3, 2 / 3), "constant"]
    json.dumps([one.resolved, [plan.swept for plan in several.trials]])  # plain: a folder's sweep.yaml holds them


@pytest.mark.parametrize("function", [lambda epoch: 0.1, VALUES.__getitem__, partial(quarter, 0)])
def test_a_function_without_a_name_of_its_own_is_refused_there(function):
    assert "`selector.schedule`: `a function stands by its name in a module" in refused(schedule=function)


def test_an_import_path_is_the_values_that_it_gives(ramps):
    assert seal_of(schedule=f"{ramps}:quarter").schedule == VALUES


def test_a_list_goes_over_the_sandboxs_constant():
    assert seal_of(schedule=[0, 0.25, 0.5]).schedule == VALUES


def test_a_stages_key_sees_values_and_not_names(ramps):
    assert fingerprint(seal_of(schedule=f"{ramps}:quarter")) == fingerprint(seal_of(schedule=list(VALUES)))
    assert fingerprint(Seal(schedule=VALUES)) != fingerprint(Seal(schedule=(0.0, 0.25, 0.4)))


def test_gamma_left_out_is_a_tenth_and_has_the_key_of_one():
    assert Seal().gamma == 0.1 and fingerprint(Seal()) == fingerprint(Seal(gamma=0.1))


@pytest.mark.parametrize("seal", [Seal(), Seal(gamma=0.0, schedule="linear", increment=0.1), Seal(schedule=VALUES)])
def test_other_settings_can_be_replaced(seal):
    assert replace(replace(seal, lr=1.0), lr=seal.lr) == seal


def test_a_schedule_can_be_replaced_where_gamma_is_taken_back():
    assert replace(Seal(), schedule=VALUES, gamma=None) == Seal(schedule=VALUES)
    assert replace(Seal(schedule=VALUES), schedule="constant") == Seal()


def test_gamma_beside_values_is_refused():
    said = refused(schedule=list(VALUES), gamma=0.1)
    assert "`selector.gamma`: `gamma is left out when schedule gives the values itself` must hold, but got 0.1" in said


def test_an_increment_beside_values_is_refused():
    assert "increment is given exactly when schedule is linear" in refused(schedule=list(VALUES), increment=0.1)


def test_a_list_must_have_one_gamma_an_epoch():
    said = refused(schedule=[0.1, 0.2])
    assert "`selector.schedule`" in said and "one gamma for each of the 3 epochs" in said and "[0.1, 0.2]" in said


@pytest.mark.parametrize("values", [[0.1, 0.2, 1.0], [0.1, -0.2, 0.0]])
def test_every_gamma_must_be_at_least_0_and_below_1(values):
    assert "0 <= gamma < 1 in every epoch" in (said := refused(schedule=values)) and str(values) in said


def test_a_callable_that_leaves_the_range_is_refused_with_its_values():
    with pytest.raises(ValueError, match=r"0 <= gamma < 1 in every epoch.*\[0.0, 1.0, 2.0\]"):
        Seal(schedule=float)


@pytest.mark.parametrize("schedule", [3, True, None, {"a": 1}, "cosine", "no_colon.here"])
def test_what_is_no_schedule_is_refused_with_all_that_is_one(schedule):
    said = refused(schedule=schedule)
    assert "constant, linear, a list" in said and "package.module:function" in said and repr(schedule) in said


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("no_such_module:f", "No module named"),
        ("ramps_of_mine:f", "has no attribute 'f'"),
        ("ramps_of_mine:FIVE", "of a callable"),
        ("ramps_of_mine:empty", "it raised KeyError"),
        ("builtins:str", "is a number"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused_with_the_reason(ramps, path, why):
    assert why in refused(schedule=path)
