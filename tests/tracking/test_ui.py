"""MLflow's pages: the server really starts, answers on loopback and ends on Ctrl-C."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest
from processes import listening

from raysafe.errors import DataError, InputError
from raysafe.tracking import DatasetSpec, MlflowTracker, RunSpec, serve, store_uri
from raysafe.tracking.ui import server_command, server_environment


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def page(url: str, seconds: float = 0.0) -> str | None:
    """The text at the address, waiting so long for the server to answer."""
    opener, end = build_opener(ProxyHandler({})), time.monotonic() + seconds
    while True:
        try:
            return opener.open(url, timeout=10).read().decode()
        except OSError:
            if time.monotonic() > end:
                return None
            time.sleep(0.5)


@pytest.fixture
def server(mlflow_tracker: MlflowTracker, store: str, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`serve` in a process of its own, with the address that it says first; made after the database."""
    code = f"import sys; from raysafe.tracking import serve; sys.exit(serve({store!r}, {free_port()}))"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(listening(command), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        said = process.stdout.readline().decode()
        yield process, said[said.index("http") :].split()[0]
        process.terminate()


def keep_a_whole_run(tracker: MlflowTracker, a_file: Path) -> str:
    run_id = tracker.start(RunSpec("trial", "000-a", "a", params={"a.b": 1}))
    tracker.log(run_id, 1, {"train/loss": 2.0})
    tracker.artifact(run_id, a_file)
    tracker.dataset(run_id, DatasetSpec("rows", "rows.jsonl", "0123abcd", "finetune"))
    tracker.end(run_id, "STOPPED")
    return run_id


@pytest.mark.training
def test_it_shows_runs_on_loopback_and_ctrl_c_ends_it(
    server: tuple[subprocess.Popen[bytes], str], mlflow_tracker: MlflowTracker, a_file: Path, experiment: str
) -> None:
    process, url = server
    local = keep_a_whole_run(mlflow_tracker, a_file)
    assert page(f"{url}/health", 90) == "OK"
    assert page(f"{url}/ajax-api/3.0/mlflow/assistant/config") is None, (
        "it would run shell commands for whoever is on this machine"
    )
    assert page(f"{url}//x/../ajax-api/3.0/mlflow/assistant/providers") is None
    assert "machine_learning" in str(page(url)), "a first visit sees the pages for training"
    assert keep_a_whole_run(MlflowTracker(url, experiment), a_file) == local, "the server knows the run by its key"
    remote = keep_a_whole_run(MlflowTracker(url, "remote"), a_file)
    for run_id in (local, remote):
        assert page(f"{url}/get-artifact?path=rows.txt&run_uuid={run_id}") == "row\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert page(f"{url}/health") is None
    assert list(a_file.parent.iterdir()) == [a_file], "the server leaves nothing in the folder it was started in"


def test_no_address_of_the_store_is_an_argument() -> None:
    assert not any("://" in word for word in server_command(5000))
    assert server_environment("postgresql://me:secret@host/db")["MLFLOW_BACKEND_STORE_URI"].endswith("secret@host/db")


def test_a_folder_without_runs_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no runs are on record"):
        serve(store_uri(tmp_path))


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="--port"):
            serve(store_uri(tmp_path), taken.getsockname()[1])
