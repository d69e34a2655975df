"""Which sweeps a store knows."""

from dataclasses import dataclass

from raysafe.tracking.mlflow.border import border, opened
from raysafe.tracking.views import TAG

MOST = 1000


@dataclass(frozen=True)
class KnownSweep:
    """An experiment of MLflow: its sweep's name, its id, and the keys of its views."""

    name: str
    experiment_id: str
    views: frozenset[str]


def known_sweeps(uri: str) -> list[KnownSweep]:
    """All sweeps of a store, the one begun last first. Raises RaysafeError if the store fails."""
    with border(uri, "say which sweeps it knows"):
        found = opened(uri).search_experiments(max_results=MOST, order_by=["creation_time DESC"])
    return [
        KnownSweep(item.name, item.experiment_id, frozenset(tag.removeprefix(TAG) for tag in item.tags if tag.startswith(TAG)))
        for item in found
        if item.name != "Default"
    ]
