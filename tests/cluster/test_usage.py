"""What a worker says of its own use of the machine."""

import torch

from raysafe.cluster.tuning import scheduler_point
from raysafe.cluster.usage import Usage
from raysafe.config.sections import SchedulerSettings


def test_a_process_knows_its_share_of_a_core_and_its_memory():
    usage = Usage(torch.device("cpu"))
    torch.ones(600, 600).matrix_power(40)
    now = usage.now()
    assert set(now) == {"system/cpu_percent", "system/memory_mb"} and now["system/cpu_percent"] > 0
    assert 10 < now["system/memory_mb"] < 100_000


def test_a_scheduler_sees_none_of_it():
    point = {"epoch": 1.0, "train/loss": 0.5, "system/cpu_percent": 90.0}
    assert scheduler_point("train", point, SchedulerSettings("asha", "train_loss")) == {"epoch": 1.0, "train_loss": 0.5}
