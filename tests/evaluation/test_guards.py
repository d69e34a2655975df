"""Guards: what they say of a trial's figures, which figures they may name, when they stop and when they fail."""

from dataclasses import replace

import pytest

from raysafe.config.guards import Guard
from raysafe.config.reading import parse_yaml
from raysafe.config.sweeps import make_sweep
from raysafe.errors import ConfigError, GuardStopped
from raysafe.evaluation.exam import exam_of
from raysafe.evaluation.guards import Broken, Watch, broken_by
from raysafe.sweep.events import TrialEnd
from raysafe.sweep.written import trial_fingerprint

FIGURES = {"utility": 0.75, "utility_low": 0.6, "utility_high": 0.85, "over_refusal": 0.3}


def settings(guards):
    text = f"name: x\nevaluation: {{judges: [phrases], guards: {guards}}}"
    return make_sweep(parse_yaml(text, "test")).trials[0].config


@pytest.mark.parametrize(
    ("guard", "says"),
    [
        (Guard(at_least=0.8), "guard `utility`: 0.75 [0.6, 0.85] is below at_least 0.8"),
        (Guard(at_least=0.75), ""),
        (Guard(at_most=0.7), "guard `utility`: 0.75 [0.6, 0.85] is above at_most 0.7"),
        (Guard(at_least=0.1, at_most=0.75), ""),
        (Guard(at_least=0.8, by="interval"), ""),
        (Guard(at_least=0.86, by="interval"), "guard `utility`: 0.75 [0.6, 0.85] is below at_least 0.86"),
        (Guard(at_most=0.59, by="interval"), "guard `utility`: 0.75 [0.6, 0.85] is above at_most 0.59"),
    ],
)
def test_a_guard_says_how_a_figure_is_beyond_it(guard, says):
    assert guard.beyond("utility", FIGURES) == says


@pytest.mark.parametrize("figures", [{}, {"utility": float("nan")}])
def test_a_figure_that_is_not_there_holds_no_guard(figures):
    assert "has no such figure, so that at_least 0.8 can't be told" in Guard(at_least=0.8).beyond("utility", figures)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{utility: {}}", "at_least or at_most is given"),
        ("{utility: {at_least: .8, at_most: .2}}", "at_least <= at_most"),
        ("{utility: {at_leest: .8}}", "`evaluation.guards.utility.at_leest`: unknown key (got 0.8); did you mean `at_least`?"),
        ("{utility: {at_least: .8, do: warn}}", "`evaluation.guards.utility.do`"),
    ],
)
def test_a_guard_that_says_nothing_is_refused_by_its_key(text, says):
    with pytest.raises(ConfigError) as caught:
        settings(text)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "name", ["utility", "win_rate", "asr_direct", "asr_prefill_5", "refusal_margin_3", "coherence", "phrases/over_refusal"]
)
def test_a_guard_takes_what_the_evaluation_will_have(name):
    assert exam_of(settings(f"{{{name}: {{at_most: 1}}}}").evaluation, {})


@pytest.mark.parametrize("name", ["utilty", "asr_gcg", "other/utility", "unsafe_selected"])
def test_a_guard_of_any_other_figure_is_refused_with_what_there_is(name):
    with pytest.raises(ConfigError, match=f"`evaluation.guards.{name}`: unknown key.*safety_score"):
        exam_of(settings(f"{{{name}: {{at_most: 1}}}}").evaluation, {})


def test_a_trial_without_guards_has_the_fingerprint_that_it_always_had():
    bare = settings("{}")
    assert trial_fingerprint(bare) != trial_fingerprint(settings("{utility: {at_least: 0.5}}"))
    assert trial_fingerprint(bare) == trial_fingerprint(
        make_sweep({"name": "x", "evaluation": {"judges": ["phrases"]}}).trials[0].config
    )


def test_guards_are_told_in_the_order_of_the_file():
    guards = {"over_refusal": Guard(at_most=0.1, do="stop"), "win_rate": Guard(at_least=0), "utility": Guard(at_least=0.8)}
    assert [(one.figure, one.do) for one in broken_by(guards, FIGURES | {"win_rate": 0.5})] == [
        ("over_refusal", "stop"), ("utility", "fail"),
    ]  # fmt: skip


def test_an_epoch_stops_by_what_it_has_told_and_only_where_that_is_the_order():
    watch = Watch.of({"utility": Guard(at_least=0.8, do="stop"), "win_rate_lc": Guard(at_least=0.5, do="stop")})
    watch(1, {"epoch": 1, "train/loss": 0.1, "eval/utility": 0.8})
    with pytest.raises(GuardStopped, match=r"guard `utility`: 0.5 \[0.4, 0.6\] is below at_least 0.8, after epoch 2"):
        watch(2, {"epoch": 2, "eval/utility": 0.5, "eval/utility_low": 0.4, "eval/utility_high": 0.6})
    assert Watch.of({"utility": Guard(at_least=0.8)}) is None


class Result:
    def __init__(self, *broken):
        self.broken = broken


FAIL, STOP = Broken("utility", "fail", "too low"), Broken("over_refusal", "stop", "too high")


@pytest.mark.parametrize(
    ("broken", "error", "stopped"),
    [((), "", ""), ((FAIL,), "too low", ""), ((STOP,), "", "too high"), ((STOP, FAIL), "too high; too low", "")],
)
def test_a_trial_that_got_to_its_end_is_held_against_its_guards_there(broken, error, stopped):
    end = TrialEnd.of(Result(*broken))
    assert (end.error, end.stopped) == (error, stopped) and end.result is not None
    assert replace(end, result=None).result is None
