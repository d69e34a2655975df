"""Stores of MLflow by their addresses; nothing here imports it."""

from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

from raysafe.errors import InputError
from raysafe.tracking.base import without_password

SCHEMES = {"sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks"}


def store_uri(storage: Path) -> str:
    """The default store of a storage folder: `sqlite:////…/mlflow.db`."""
    return f"sqlite:///{Path(storage).absolute() / 'mlflow.db'}"


def sqlite_path(uri: str) -> Path | None:
    """The database file of a sqlite URI; None for other stores."""
    path = uri.removeprefix("sqlite:///").partition("?")[0]
    return Path(path).absolute() if uri.startswith("sqlite:///") and path else None


def check_uri(uri: str) -> None:
    """Raise InputError if MLflow has no store of this kind; whether it is there and answers is found out later."""
    scheme = urlsplit(uri).scheme.partition("+")[0]
    plugins = {plugin.name for plugin in entry_points(group="mlflow.tracking_store")}
    if scheme not in SCHEMES | plugins and not uri.startswith("databricks"):
        raise InputError(
            f"--tracking-uri: got {without_password(uri)!r}, but it takes a store of MLflow, as sqlite:////path/mlflow.db or "
            f"http://host:5000 (one of {', '.join(sorted(SCHEMES | plugins))})."
        )


def quiet_environment() -> dict[str, str]:
    """Variables under which MLflow sends no usage statistics and says nothing of what it makes or fetches."""
    return {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }
