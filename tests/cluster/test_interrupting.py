"""Signals on a real `raysafe sweep`: SIGTERM in training (`test_commands.py` has Ctrl-C there), and each amid the imports.

One sentence, nothing left. That SIGHUP is taken as these are wherever it comes, `tests/sweep/test_signals.py` shows.
"""

import os
import re
import signal
import subprocess
import sys

import psutil
import pytest
import yaml
from processes import listening
from small import small_trial


@pytest.fixture
def sweep_process(random_model, tmp_path):
    """`raysafe sweep` of one long trial in a process of its own; killed at the end if it is still there."""
    file = tmp_path / "small.yaml"
    sections = {"selector": {"name": "random"}, "evaluation": {"each_epoch": False}, "resources": {"groups": 1}}
    trial = small_trial(random_model, objective="sft", training={"epochs": 200}, **sections)
    file.write_text(yaml.safe_dump(trial))
    processes = []

    def start(*options):
        command = [sys.executable, *options, "-m", "raysafe.cli", "sweep", str(file), "--storage", str(tmp_path / "runs")]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "RAY_ADDRESS": ""}
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        processes.append(subprocess.Popen(listening(command), env=environment, **pipe))
        return processes[0]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def after(process, seen, number):
    """Send the signal once a line that fits `seen` was said; (what was said afterwards, its children of that moment)."""
    said = []
    assert next((line for line in process.stdout if said.append(line) or re.search(seen, line)), None), "".join(said)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    return process.communicate(timeout=120)[0], children


def left(processes):
    """Those that don't end within some seconds."""
    _, alive = psutil.wait_procs(processes, timeout=60)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_sigterm_in_training_ends_it_like_ctrl_c(sweep_process):
    process = sweep_process()
    said, children = after(process, "train, epoch", signal.SIGTERM)
    assert process.returncode == 143 and "--resume goes on" in said, said
    assert "Traceback" not in said and "SIGABRT" not in said and "Fatal" not in said
    assert len(children) > 3 and left(children) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_in_the_middle_of_the_imports_ends_it_with_one_sentence(sweep_process, number, code):
    process = sweep_process("-X", "importtime")
    said, children = after(process, r" numpy$", number)
    told = [line for line in said.splitlines() if line.strip() and not line.startswith("import time:")]
    assert process.returncode == code and len(told) == 1 and told[0].startswith("Interrupted."), said
    assert left(children) == []
