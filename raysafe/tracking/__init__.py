"""What is recorded of a sweep: a protocol of five methods, MLflow behind it, and a twin in memory for tests."""

from raysafe.tracking.base import DatasetSpec, EndStatus, RunKind, RunSpec, Tracker
from raysafe.tracking.memory import MemoryTracker
from raysafe.tracking.mlflow import MlflowTracker, store_uri
from raysafe.tracking.ui import serve

__all__ = [
    "DatasetSpec",
    "EndStatus",
    "MemoryTracker",
    "MlflowTracker",
    "RunKind",
    "RunSpec",
    "Tracker",
    "serve",
    "store_uri",
]
