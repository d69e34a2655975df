"""What a worker's process uses while it works: told beside a stage's points, kept in no result, seen by no scheduler."""

from contextlib import suppress

import psutil
import torch

MIB = 2**20


class Usage:
    """Of this process since the last time it was asked: `system/cpu_percent` (100 is one core), `system/memory_mb`; on a GPU the
    most memory that torch held and, where NVML answers, how busy the device is now."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.process = device, psutil.Process()
        self.process.cpu_percent()  # from here on it counts

    def now(self) -> dict[str, float]:
        """The figures by name."""
        found = {"system/cpu_percent": self.process.cpu_percent(), "system/memory_mb": self.process.memory_info().rss / MIB}
        if self.device.type == "cuda":
            found["system/gpu_memory_mb"] = torch.cuda.max_memory_allocated(self.device) / MIB
            with suppress(Exception):  # needs NVIDIA's management library, and leave to ask it
                found["system/gpu_percent"] = float(torch.cuda.utilization(self.device))
        return found
