"""MLflow's pages on this machine, for `raysafe ui`."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType
from urllib.request import ProxyHandler, build_opener

from raysafe.errors import DataError, InputError
from raysafe.tracking.stores import quiet_environment, sqlite_path

HOST = "127.0.0.1"
START_S = 120.0
"""How long the server may take until it answers; on a busy machine MLflow's imports alone take 20 s."""


def serve(uri: str, port: int = 5000, ready: Callable[[str], None] = lambda address: None) -> int:
    """Show a store's runs at http://127.0.0.1:PORT until Ctrl-C; returns MLflow's exit code, 0 after Ctrl-C.

    ready: called with the address once the server answers. Raises InputError if the port is taken, DataError if there is no store
    yet or the server doesn't come up.
    """
    _check(uri, port)
    address = f"http://{HOST}:{port}"
    print(f"MLflow's pages come up at {address} in some seconds; Ctrl-C ends them.", flush=True)
    # A session of its own: Ctrl-C reaches this process alone, which then ends the server and all its workers once.
    child = subprocess.Popen(server_command(port), env=server_environment(uri), start_new_session=True)
    before = signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        _wait_for(address, child)
        ready(address)
        return child.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)
        _stop(child)


def server_command(port: int) -> list[str]:
    """MLflow's server, without its assistant, as one worker on loopback that tells only of what goes wrong."""
    server = [sys.executable, "-m", "raysafe.tracking.mlflow.pages", "server", "--uvicorn-opts", "--log-level warning"]
    return [*server, "--host", HOST, "--port", str(port), "--workers", "1"]


def server_environment(uri: str) -> dict[str, str]:
    """The server's variables. The store is given here and not as an argument, which every user could read with `ps`."""
    ours = {
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_REGISTRY_STORE_URI": uri,
        "PYTHONWARNINGS": "ignore",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ENABLE_AI_GATEWAY": "false",
        "MLFLOW_ENABLE_REMOTE_ASSISTANT": "false",
    }
    path = sqlite_path(uri)
    if path:
        ours["MLFLOW_ARTIFACTS_DESTINATION"] = (path.parent / "mlartifacts").as_uri()
    return quiet_environment() | dict(os.environ) | ours


def _check(uri: str, port: int) -> None:
    path = sqlite_path(uri)
    if path and not path.is_file():
        raise DataError(f"{path}: no runs are on record here. Run a sweep first, or name its folder with --storage.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise InputError(f"Port {port} of {HOST} can't be used ({error.strerror}): choose another with --port.") from error


def _wait_for(address: str, child: "subprocess.Popen[bytes]") -> None:
    opener, end = build_opener(ProxyHandler({})), time.monotonic() + START_S
    while child.poll() is None and time.monotonic() < end:
        try:
            opener.open(f"{address}/health", timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise DataError("MLflow's server didn't come up; what it said stands above.")


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
