"""Whether a sweep has given back to Ray what it took."""

import time

import ray
from ray.util import placement_group_table


def everything_is_free():
    """All placement groups gone and all CPUs back; Ray takes a moment to count."""
    for _ in range(400):
        groups = [group["state"] for group in placement_group_table().values()]
        if set(groups) <= {"REMOVED"} and ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"]:
            return True
        time.sleep(0.1)
    return False
