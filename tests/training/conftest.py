"""A process group of one, for DeepSpeed without workers."""

import pytest
import torch.distributed as dist


@pytest.fixture(scope="session")
def _group():
    """Once a session: DeepSpeed holds on to the first group that it meets."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def one_process_group(_group, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
