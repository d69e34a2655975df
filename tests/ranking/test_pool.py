"""The rows as a selector is given them, and what is said of weights that learned nothing, or ran away."""

from dataclasses import replace

import pytest
import tiny
import torch

from raysafe.data.records import Message
from raysafe.ranking.pool import counted_text, weight_warnings


def said(*weights):
    return weight_warnings(torch.tensor(weights, dtype=torch.float64))


def test_a_rows_text_is_its_turns_and_its_answer():
    assert counted_text(tiny.example(0, "a", "b")) == "a\nb"
    turns = (Message("system", "s"), Message("user", "u"))
    assert counted_text(replace(tiny.example(0, "a", "b"), prompt=turns)) == "s\nu\nb"


@pytest.mark.parametrize("weights", [(0.998, 1.0, 1.002), (1.0, 1.0), (1.0, 1.01)])
def test_weights_within_a_hundredth_are_warned_of_with_their_ends(weights):
    (warning,) = said(*weights)
    assert f"({min(weights):.4f} to {max(weights):.4f})" in warning and "larger step size" in warning


@pytest.mark.parametrize("weights", [(0.99, 1.005, 1.005), (0.5, 1.0, 1.5), (1.0,), (0.2, 1.8)])
def test_weights_that_spread_are_not(weights):
    assert said(*weights) == ()


def test_one_row_with_most_of_the_weight_is_warned_of():
    (warning,) = said(0.1, 2.7, 0.2)
    assert "one row ends with more than half of all weight" in warning and "smaller step size" in warning
