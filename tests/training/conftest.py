"""A process group of one, for DeepSpeed without workers."""

import pytest
import torch.distributed as dist


@pytest.fixture(scope="module")
def one_process_group():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCAL_RANK", "0")
        yield
    dist.destroy_process_group()
