"""Seconds of a step against the real tokens of its rows, when one long row would force padding on the others."""

import random
from typing import Any

import torch

from raysafe.data.tokens import TokenRow
from raysafe.objectives.sft import Sft
from raysafe.training.step import StepPlan, TrainingData
from stepbench.measure import in_turn
from stepbench.methods import POLICY_SEED, SETTINGS
from stepbench.ours import make_engine, run_step
from stepbench.published import padded, token_log_probs
from stepbench.rows import FIRST_WORD, MAX_LENGTH
from stepbench.shapes import Shape, random_model

ROWS = 8
LENGTHS = (16, 64, 128, 256, 512)


def rows_of(length: int, vocabulary: int) -> tuple[TokenRow, ...]:
    """One row of MAX_LENGTH tokens and ROWS - 1 of `length`; three quarters of each are labels."""
    chance = random.Random(length)
    lengths = [MAX_LENGTH] + [length] * (ROWS - 1)
    ids = [tuple(chance.randrange(FIRST_WORD, vocabulary) for _ in range(one)) for one in lengths]
    return tuple(TokenRow(index, one, len(one) // 4) for index, one in enumerate(ids))


def measure_scaling(shape: Shape, repeats: int) -> list[dict[str, float]]:
    """For each length of the short rows: real tokens, padded tokens, median CPU seconds of our step after a warm-up, and
    seconds of one step of the published way, which computes the same whatever the lengths are."""
    model, engine = random_model(shape, POLICY_SEED), make_engine(random_model(shape, POLICY_SEED))
    result = []
    for length in LENGTHS:
        rows = rows_of(length, shape.vocabulary)
        ours, published = {"ours": _ours(engine, rows)}, {"published": _published(model, rows)}
        in_turn(ours, 1)
        timed = in_turn(ours, repeats) | in_turn(published, 1)
        figures = {f"{way}_s": one.median for way, one in timed.items()}
        tokens = sum(len(row.input_ids) for row in rows)
        result.append({"length": length, "tokens": tokens, "padded": ROWS * MAX_LENGTH, **figures})
    return result


def _ours(engine: Any, rows: tuple[TokenRow, ...]) -> Any:
    plan, data = StepPlan(0, range(ROWS), []), TrainingData({"retain": rows}, {})
    return lambda number: run_step(engine, Sft(), data, plan)


def _published(model: Any, rows: tuple[TokenRow, ...]) -> Any:
    optimizer = torch.optim.AdamW(model.parameters(), lr=SETTINGS.lr)

    def step(number: int) -> float:
        loss = -token_log_probs(model, padded(rows, MAX_LENGTH)).sum(dim=-1).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), SETTINGS.clip)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step
