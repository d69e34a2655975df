"""Names that people read in place of dotted ones."""

import pytest

from raysafe.report.naming import setting_text, short_names, trial_title


def test_names_are_short_unless_two_would_be_alike() -> None:
    names = short_names(["selector.name", "selection.percent", "training.lr", "proxy.lr"])
    assert list(names.values()) == ["selector", "percent", "training.lr", "proxy.lr"]


def test_a_setting_is_not_called_like_the_trials_own_seed() -> None:
    assert short_names(["sandbox.seed", "training.lr"]) == {"sandbox.seed": "sandbox.seed", "training.lr": "lr"}


def test_a_title_has_the_papers_letters_plain_names_and_short_settings() -> None:
    swept = {"selector.gamma": 0.1, "selection.percent": 70, "objective.name": "wdoor", "training.lr": 1e-05}
    assert trial_title(swept, 1) == "γ=0.1 p=70 wdoor lr=1e-05 seed 1"
    assert trial_title({}, 2, {"seed_world": 0, "seed_ranking": 1}) == "world 0 ranking 1 seed 2"
    assert trial_title({}, 0) == "seed 0" and trial_title({"selector.name": "random"}) == "random"


def test_a_long_title_is_cut_but_for_its_seed() -> None:
    title = trial_title({"selector.schedule": "x" * 300}, 3)
    assert title.endswith("… seed 3") and len(title) == 107


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1, "0.1"), (0.123456789, "0.123456789"), (None, "–"), (True, "true"), ([1, 2], "[1, 2]"), (80, "80"), ("a", "a")],
)
def test_a_value_is_told_exactly(value: object, text: str) -> None:
    assert setting_text(value) == text
