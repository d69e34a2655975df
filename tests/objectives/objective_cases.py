"""All objectives with their variants, and random streams for them."""

from dataclasses import replace
from itertools import product

import torch

from raysafe.objectives import OBJECTIVES, StreamLogProbs
from raysafe.objectives.ga_released import GaReleased
from raysafe.objectives.token_weights import TOKEN_WEIGHTS
from raysafe.objectives.unlearning import UNLEARNING
from raysafe.objectives.wdoor import WDoor

WDOORS = {f"wdoor-{w}-{u}": WDoor(weights=w, unlearning=u) for w, u in product(TOKEN_WEIGHTS, UNLEARNING)}
CASES = {name: kind() for name, kind in OBJECTIVES.items()} | {"ga_released-prefixed": GaReleased(prefixed=True)} | WDOORS
SHAPE = (4, 6)
LABELS = (6, 3, 1, 4)
"""Rows and positions of the streams, and the labels of each row."""


def needed(objective):
    return {"retain": (), **{stream: objective.frozen_models.get(stream, ()) for stream in objective.alignment}}


def random_streams(objective, seed=0, dtype=torch.float64, scale=3.0, shape=SHAPE, labels=LABELS):
    """Log-probabilities of all declared streams and frozen models, and nothing else; ragged masks."""
    draw = torch.Generator().manual_seed(seed)

    def log_probs():
        return (-scale * torch.rand(shape, generator=draw, dtype=torch.float64)).to(dtype).requires_grad_()

    mask = (torch.arange(shape[1]) < torch.tensor(labels)[:, None]).to(torch.float32)
    lengths = torch.tensor(labels) + torch.randint(1, 5, (shape[0],), generator=draw)
    return {
        stream: StreamLogProbs(log_probs(), mask, {name: log_probs() for name in frozen}, padded=9, lengths_B=lengths)
        for stream, frozen in needed(objective).items()
    }


def changed(streams, change, rows=lambda t: t):
    """`change` applied to the tensors of every stream, mask included; `rows` to what has one number a row."""
    return {
        name: replace(
            s,
            policy_BT=change(s.policy_BT),
            mask_BT=change(s.mask_BT),
            frozen={model: change(v) for model, v in s.frozen.items()},
            lengths_B=rows(s.lengths_B),
        )
        for name, s in streams.items()
    }


def poisoned(streams, poison):
    """`poison` put everywhere outside of the masks; fresh leaves."""

    def put(s, t):
        return t.detach().masked_fill(s.mask_BT == 0, poison).requires_grad_()

    return {
        name: replace(s, policy_BT=put(s, s.policy_BT), frozen={model: put(s, v) for model, v in s.frozen.items()})
        for name, s in streams.items()
    }


def run(objective, streams):
    losses = objective(streams)
    sum(loss.sum() for loss in losses.values()).backward()
    return losses


def gradients(streams):
    return {name: stream.policy_BT.grad for name, stream in streams.items()}
