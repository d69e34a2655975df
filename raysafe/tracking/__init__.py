"""What is recorded of a sweep: a protocol of five methods, a backlog before it, MLflow behind it, a twin in memory."""

from raysafe.tracking.backlog import Backlog, Teller
from raysafe.tracking.base import DatasetSpec, EndStatus, Refused, RunKind, RunSpec, Tracker
from raysafe.tracking.memory import MemoryTracker
from raysafe.tracking.mlflow import MlflowTracker, store_uri
from raysafe.tracking.ui import serve

__all__ = [
    "Backlog",
    "DatasetSpec",
    "EndStatus",
    "MemoryTracker",
    "MlflowTracker",
    "Refused",
    "RunKind",
    "RunSpec",
    "Teller",
    "Tracker",
    "serve",
    "store_uri",
]
