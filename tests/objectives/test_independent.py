"""The package against `plain_objectives.py`: values per row and of the step, on random rows, in float64."""

import random
from dataclasses import asdict, replace

import plain_objectives
import pytest
import torch
from objective_cases import CASES
from tolerances import CHAIN

from raysafe.objectives import StreamLogProbs, batch_means, total_loss

MODELS = ("policy", "reference", "proxy")
PADDED = 23
NUMBERS = {"alpha": 0.35, "beta": 1.7, "tau": 2.5, "slope": 1.3, "margin": 0.6, "weight_cap": 1.1}


def random_batch(seed, pairs=3, retained=5):
    """Rows of 1 to 7 labels for the three streams; as many harmful rows as safe ones."""
    draw = random.Random(seed)

    def row():
        labels = draw.randint(1, 7)
        return {name: [-draw.expovariate(0.7) for _ in range(labels)] for name in MODELS} | {
            "length": labels + draw.randint(2, 9)
        }

    return {name: [row() for _ in range(count)] for name, count in {"safe": pairs, "harmful": pairs, "retain": retained}.items()}


def padded_tensor(values, width):
    return torch.tensor([row + [-7.5] * (width - len(row)) for row in values], dtype=torch.float64)


def as_stream(rows):
    width = 1 + max(len(row["policy"]) for row in rows)
    policy, reference, proxy = (padded_tensor([row[name] for row in rows], width) for name in MODELS)
    mask = padded_tensor([[1.0] * len(row["policy"]) for row in rows], width).clamp(min=0)
    lengths = torch.tensor([row["length"] for row in rows])
    return StreamLogProbs(policy, mask, {"reference": reference, "proxy": proxy}, padded=PADDED, lengths_B=lengths)


def with_other_numbers(objective):
    """All settings away from their defaults, as far as the variant reads them."""
    for name, value in NUMBERS.items():
        try:
            objective = replace(objective, **{name: value})
        except (TypeError, ValueError):  # it has no such setting, or reads none with this variant
            continue
    return objective


def check(objective, batch):
    settings = {name: value for name, value in asdict(objective).items() if name != "prefixed"}
    rows, whole = plain_objectives.losses(objective.name, settings, batch, PADDED)
    found = objective({name: as_stream(part) for name, part in batch.items()})
    assert found.keys() == rows.keys()
    for term, values in rows.items():
        assert found[term].tolist() == pytest.approx(values, rel=CHAIN, abs=CHAIN)
    counts = {term: len(values) for term, values in rows.items()}
    means = batch_means(found, {term: torch.ones(count) for term, count in counts.items()}, counts)
    assert total_loss(means, objective.alpha).item() == pytest.approx(whole, rel=CHAIN, abs=CHAIN)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", CASES)
def test_an_independent_computation_gives_the_same_numbers(name, seed):
    check(CASES[name], random_batch(seed))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", CASES)
def test_an_independent_computation_gives_the_same_numbers_at_other_settings(name, seed):
    check(with_other_numbers(CASES[name]), random_batch(100 + seed))


def test_the_other_settings_are_really_set():
    changed = with_other_numbers(CASES["wdoor-sigmoid_released-released_sum"])
    assert (changed.slope, changed.margin, changed.weight_cap, changed.tau) == (1.3, 0.6, 1.1, 5.0)
