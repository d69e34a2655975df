"""Links that open a sweep's comparison in MLflow's pages."""

import threading
from contextlib import suppress
from urllib.parse import urlsplit

from raysafe.tracking.comparison import MAIN_VIEW
from raysafe.tracking.mlflow.known import KnownSweep, known_sweeps
from raysafe.tracking.stores import sqlite_path
from raysafe.tracking.views import runs_link, view_link

LOCAL = "http://127.0.0.1:5000"
"""Where `raysafe ui` shows a store unless told otherwise."""
PATIENCE_S = 5.0


def comparison_link(uri: str, sweep: str, server: str = LOCAL, patience_s: float = PATIENCE_S) -> str | None:
    """The link to a sweep's comparison, or None if its store knows no such sweep or doesn't say so in time. Never fails.

    uri: the store, as `--tracking-uri` takes it; where it is a server the link is on it, else on `server`.
    """
    found: list[str] = []

    def look() -> None:
        with suppress(Exception):  # a link is an extra
            if _there(uri):
                found.extend(link for name, link in links(uri, server) if name == sweep)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(patience_s)
    return found[0] if found else None


def links(uri: str, server: str = LOCAL) -> list[tuple[str, str]]:
    """(name, link) of every sweep of a store, the one begun last first. Raises RaysafeError if the store fails."""
    return [(sweep.name, _link(sweep, server_of(uri) or server)) for sweep in known_sweeps(uri)]


def server_of(uri: str) -> str | None:
    """The address of a store that is a server, as it may be shown; None for a database."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return None
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _link(sweep: KnownSweep, server: str) -> str:
    if MAIN_VIEW in sweep.views:
        return view_link(server, sweep.experiment_id, MAIN_VIEW)
    return runs_link(server, sweep.experiment_id)


def _there(uri: str) -> bool:
    """Looking for a database must not make one."""
    path = sqlite_path(uri)
    return path is None or path.is_file()
