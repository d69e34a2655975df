"""The border to MLflow: it is imported here, quietly, and its exceptions and its database's end here."""

import logging
import os
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock

from raysafe.errors import RaysafeError
from raysafe.tracking.base import Refused, without_password
from raysafe.tracking.stores import quiet_environment, sqlite_path

_REFUSALS = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"}
"""MLflow's answers that will be the same the next time."""
_SHORT_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
"""What fails is told again by our own backlog, which sees the whole; MLflow's patience would be minutes for each call."""


@contextmanager
def border(uri: str, doing: str) -> Iterator[None]:
    """What MLflow raises inside becomes RaysafeError, or Refused, with a sentence that says what to do."""
    try:
        yield
    except _import_mlflow() as error:
        if sqlite_path(uri):
            advice = "Check that its folder can be written and has room, then go on with --resume."
        else:
            advice = "Check that the server of --tracking-uri answers and lets you in, then go on with --resume."
        reason = without_password(str(error).strip().partition("\n")[0])[:300].rstrip(".")
        kind = Refused if getattr(error, "error_code", None) in _REFUSALS else RaysafeError
        raise kind(f"MLflow's store {without_password(uri)} could not {doing}: {reason}. {advice}") from error


def opened(uri: str) -> Any:
    """An MlflowClient on a store, whose tables are made if it is a new database."""
    _import_mlflow()
    path = sqlite_path(uri)
    with _made_by_one(path), _no_outdated_warnings():
        from mlflow.tracking import MlflowClient

        if path:
            _probe(path)
        client = MlflowClient(uri, registry_uri=uri)
        client.search_experiments(max_results=1)  # the first call makes the tables
        return client


def _import_mlflow() -> tuple[type[Exception], ...]:
    """Import it quietly; returns the exceptions that it lets out."""
    for name, value in (quiet_environment() | _SHORT_PATIENCE).items():
        os.environ.setdefault(name, value)
    import mlflow.tracking  # noqa: F401  # slow, and meant to be paid here
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    logging.getLogger("mlflow").setLevel(os.environ["MLFLOW_LOGGING_LEVEL"].upper())
    return MlflowException, SQLAlchemyError, sqlite3.Error, OSError


def _made_by_one(path: Path | None) -> Any:
    """Two sweeps that start at once on a fresh folder would both run MLflow's migrations, and one would fail."""
    if path is None:
        return nullcontext()
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(str(path.with_name(f".{path.name}.lock")))


def _probe(path: Path) -> None:
    """Fail at once on a file that can't be written or is no database, where MLflow would try for two minutes."""
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()


@contextmanager
def _no_outdated_warnings() -> Iterator[None]:
    """MLflow's tables use what SQLAlchemy 2.1 calls outdated; nobody here can do anything about it."""
    from sqlalchemy.exc import SADeprecationWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SADeprecationWarning)
        yield
