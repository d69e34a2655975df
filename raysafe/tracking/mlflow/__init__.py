"""The only package that imports mlflow, and only when it is asked for something: the record, known sweeps, and the pages."""

from raysafe.tracking.mlflow.tracker import MlflowTracker
from raysafe.tracking.stores import check_uri, sqlite_path, store_uri

__all__ = ["MlflowTracker", "check_uri", "sqlite_path", "store_uri"]
