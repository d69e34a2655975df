"""What is recorded of a sweep: a small protocol, a backlog before it, MLflow behind it, a twin in memory."""

from raysafe.tracking.backlog import Backlog, Teller
from raysafe.tracking.base import (
    TABLES,
    Chart,
    Column,
    DatasetSpec,
    EndStatus,
    ModelSpec,
    Refused,
    RunKind,
    RunSpec,
    Tracker,
    View,
)
from raysafe.tracking.comparison import views_of
from raysafe.tracking.memory import MemoryTracker
from raysafe.tracking.mlflow import MlflowTracker
from raysafe.tracking.stores import store_uri
from raysafe.tracking.ui import serve

__all__ = [
    "TABLES",
    "Backlog",
    "Chart",
    "Column",
    "DatasetSpec",
    "EndStatus",
    "MemoryTracker",
    "MlflowTracker",
    "ModelSpec",
    "Refused",
    "RunKind",
    "RunSpec",
    "Teller",
    "Tracker",
    "View",
    "serve",
    "store_uri",
    "views_of",
]
