"""One trajectory, whatever the ZeRO stage, the number of workers or the split of the batch (real DeepSpeed on real workers)."""

import pytest
import torch
from small import small_trial
from tolerances import after_adam, likely, network

from raysafe.artifacts import Store
from raysafe.cluster.groups import worker_groups
from raysafe.config.sections import Resources
from raysafe.config.sweeps import make_sweep
from raysafe.stages.making import History
from raysafe.trial import here, run_trial

ONE_WORKER = {
    "zero 0": {"zero_stage": 0},
    "zero 1": {"zero_stage": 1},
    "zero 2": {"zero_stage": 2},
    "zero 3": {"zero_stage": 3},
    "batch 2 x accumulation 2": {"accumulation": 2},
    "padded": {"batching": "padded"},
    "padded, zero 3": {"batching": "padded", "zero_stage": 3},
    "checkpointed": {"gradient_checkpointing": True},
    "checkpointed, zero 3": {"gradient_checkpointing": True, "zero_stage": 3},
}
TWO_WORKERS = {
    "2 workers": {},
    "2 workers, zero 1": {"zero_stage": 1},
    "2 workers, zero 2": {"zero_stage": 2},
    "2 workers, zero 3, accumulation 2": {"zero_stage": 3, "accumulation": 2},
}


TERMS = network(layers=2, width=32, inner=64, positions=64, vocabulary=440)
NEAR = {"rel": likely(TERMS, torch.float32), "abs": after_adam(2 * 7, 1e-3, 64, TERMS, torch.float32)}
"""Two epochs of 26 rows, 4 a step, with gradients of norms below 64: each about 1e-5, DeepSpeed has float32 only."""

FULL = {"selector": {"algorithm": 1, "optimizer": "adamw_released"}}
"""SEAL with a second model and the released optimiser: other losses, hence a straight run of its own."""
ONE_WORKER |= {"zero 2, Algorithm 1": {"zero_stage": 2, **FULL}}
TWO_WORKERS |= {"2 workers, zero 3, Algorithm 1": {"zero_stage": 3, **FULL}}


def trajectory(model_folder, folder, change, launch=None, store=None):
    """Losses of every epoch of a trial's own training and of its selector."""
    training = {key: value for key, value in change.items() if key != "selector"}
    trial = make_sweep(small_trial(model_folder, training=training, selector=change.get("selector", {}))).trials[0].config
    store = store or Store(folder)
    used = []

    def noting(stage):
        job = (launch or here(store))(stage)
        used.append((stage, job))
        return job

    run_trial(trial, store, folder / "trial", noting)
    rows = {stage.label: History.of(job.wait().artifact) for stage, job in used}
    names = ("train/loss", "train/align_loss", "train/retain_loss")
    selector = [value for _, row in rows["rank"] for name, value in sorted(row.items()) if name.endswith("_loss")]
    return [row[name] for _, row in rows["train"] for name in names] + selector


@pytest.fixture(scope="module")
def straight(random_model, tmp_path_factory):
    """The plain in-memory engine: AdamW by hand, one process, the whole batch at once."""
    return {
        name: trajectory(random_model, tmp_path_factory.mktemp("plain"), change)
        for name, change in (("Algorithm 2", {}), ("Algorithm 1", FULL))
    }


@pytest.fixture(scope="module", params=[(1, ONE_WORKER), (2, TWO_WORKERS)], ids=["1 worker", "2 workers"])
def trajectories(request, ray_here, random_model, tmp_path_factory):
    """DeepSpeed's trajectories by variant: all of them on one group of workers that stays."""
    workers, changes = request.param
    root = tmp_path_factory.mktemp(f"deepspeed-{workers}")
    with worker_groups(root, Resources(workers=workers, groups=1)) as groups:
        return {
            name: trajectory(random_model, root / f"{number}", change, groups.launcher(f"trial-{number}"), groups.store)
            for number, (name, change) in enumerate(changes.items())
        }


def test_deepspeed_gives_the_losses_of_a_loop_written_by_hand(trajectories, straight):
    for name, losses in trajectories.items():
        expected = straight["Algorithm 1" if "Algorithm 1" in name else "Algorithm 2"]
        assert losses == pytest.approx(expected, **NEAR), name


def test_training_moves_the_losses_at_all(straight):
    first, second = straight["Algorithm 2"][0], straight["Algorithm 2"][3]
    assert second < first - 0.01
