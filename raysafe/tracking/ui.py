"""MLflow's pages on this machine, for `raysafe ui`."""

import os
import signal
import socket
import subprocess
import sys
from types import FrameType

from raysafe.errors import DataError, InputError
from raysafe.tracking.base import without_password
from raysafe.tracking.mlflow import quiet_environment, sqlite_path

HOST = "127.0.0.1"


def serve(uri: str, port: int = 5000) -> int:
    """Show the store's runs at http://127.0.0.1:PORT until Ctrl-C; returns MLflow's exit code, 0 after Ctrl-C.

    Raises InputError if the port is taken or the store is a server already, DataError if there is no store yet.
    """
    _check(uri, port)
    print(f"MLflow shows the runs at http://{HOST}:{port} in some seconds; Ctrl-C ends it.", flush=True)
    # A session of its own: Ctrl-C reaches this process alone, which then ends the server and all its workers once.
    child = subprocess.Popen(server_command(port), env=server_environment(uri), start_new_session=True)
    before = signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        return child.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)
        _stop(child)


def server_command(port: int) -> list[str]:
    """MLflow's server as one worker on loopback."""
    return [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]


def server_environment(uri: str) -> dict[str, str]:
    """The server's variables. The store is given here and not as an argument, which every user could read with `ps`."""
    ours = {"MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    path = sqlite_path(uri)
    if path:
        ours["MLFLOW_ARTIFACTS_DESTINATION"] = (path.parent / "mlartifacts").as_uri()
    return quiet_environment() | dict(os.environ) | ours


def _check(uri: str, port: int) -> None:
    if uri.startswith(("http://", "https://")):
        raise InputError(f"{without_password(uri)} is an MLflow server already: open it in a browser.")
    path = sqlite_path(uri)
    if path and not path.is_file():
        raise DataError(f"{path}: no runs are on record here. Run a sweep first, or name its folder with --storage.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise InputError(f"Port {port} of {HOST} can't be used ({error.strerror}): choose another with --port.") from error


def _as_interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _stop(child: "subprocess.Popen[bytes]") -> None:
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
