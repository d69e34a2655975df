"""Real servers for tests, all on this machine: a PostgreSQL cluster in a folder of its own, and MLflow's server over a store."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from processes import listening

from raysafe.tracking.ui import server_command, server_environment

OPENER = build_opener(ProxyHandler({}))


def postgres_folder() -> Path | None:
    """Where PostgreSQL's programs lie, if they are installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@contextmanager
def postgres() -> Iterator[str]:
    """The address of a new, empty database, reached by a socket in its own folder. PostgreSQL refuses to run as root."""
    programs = postgres_folder()
    assert programs is not None
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as folder:
        if user:
            shutil.chown(folder, user)
        run = {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        how = ["-D", f"{folder}/data"]
        subprocess.run([programs / "initdb", *how, "-U", "raysafe", "-A", "trust", "-E", "UTF8", "--no-sync"], check=True, **run)
        settings = ["-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
        with subprocess.Popen([programs / "postgres", *how, *settings], **run) as process:
            try:
                until(lambda: Path(folder, ".s.PGSQL.5432").exists(), 30)
                yield f"postgresql+psycopg2://raysafe@/postgres?host={folder}"
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(30)


class MlflowServer:
    """MLflow's server over a store, as people run one beside a cluster; it can be killed and started again at the same address.

    ours: with the pages of `raysafe ui`.
    """

    def __init__(self, store: str, folder: Path, ours: bool = False) -> None:
        self.folder, self.port = folder, free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.command = server_command(self.port)
        if not ours:
            self.command[2:3] = ["mlflow"]
        self.environment = server_environment(store) | {"MLFLOW_ARTIFACTS_DESTINATION": (folder / "served").as_uri()}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                listening(self.command), env=self.environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        until(lambda: page(f"{self.address}/health") == "OK", 120)

    @contextmanager
    def slow(self, pause_s: float = 0.2) -> Iterator[None]:
        """Inside, the server stands still most of the time."""
        over = threading.Event()

        def stop_and_go() -> None:
            while not over.wait(pause_s / 2):
                self._signal(signal.SIGSTOP)
                over.wait(pause_s)
                self._signal(signal.SIGCONT)

        thread = threading.Thread(target=stop_and_go)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _signal(self, signum: int) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signum)

    def kill(self) -> None:
        """End it and its workers in the middle of whatever they do."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)
            self.process = None


@contextmanager
def mlflow_server(store: str, folder: Path, ours: bool = False) -> Iterator[MlflowServer]:
    """A server that answers, ended on the way out."""
    server = MlflowServer(store, folder, ours)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def free_port() -> int:
    """A port of the loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def page(url: str, seconds: float = 0.0) -> str | None:
    """The text at an address, waiting so long for the server to answer."""
    end = time.monotonic() + seconds
    while True:
        try:
            return OPENER.open(url, timeout=10).read().decode()
        except OSError:
            if time.monotonic() > end:
                return None
            time.sleep(0.2)


def until(holds, seconds: float) -> None:  # type: ignore[no-untyped-def]
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.1)
