"""The contract: what holds for every tracker, read back through one small view."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from raysafe.tracking import Backlog, DatasetSpec, MemoryTracker, MlflowTracker, RunSpec, Teller, Tracker

TRIAL = RunSpec("trial", "000-a", "gamma 0.1", params={"selector.gamma": 0.1, "model.lora": None, "data.finetune": "sandbox"})


@dataclass(frozen=True)
class View:
    """What a run holds. `metrics`: sorted (name, step, value)."""

    params: dict[str, str]
    tags: dict[str, str]
    metrics: list[tuple[str, int, float]]
    artifacts: list[str]
    datasets: list[tuple[str, str, str]]


@dataclass(frozen=True)
class Case:
    tracker: Tracker
    view: Callable[[str], View]


def memory_view(tracker: MemoryTracker, run_id: str) -> View:
    run = tracker.runs[run_id]
    datasets = [(item.name, item.fingerprint, item.context) for item in run.datasets]
    return View(run.params, run.tags, sorted(run.metrics), sorted(run.artifacts), datasets)


def mlflow_view(client: Any, run_id: str) -> View:
    run = client.get_run(run_id)
    histories = [client.get_metric_history(run_id, name) for name in run.data.metrics]
    metrics = sorted((row.key, row.step, row.value) for history in histories for row in history)
    datasets = [(item.dataset.name, item.dataset.digest, item.tags[0].value) for item in run.inputs.dataset_inputs]
    return View(run.data.params, run.data.tags, metrics, files_below(client, run_id, None), datasets)


def files_below(client: Any, run_id: str, folder: str | None) -> list[str]:
    found = client.list_artifacts(run_id, folder)
    inner = [path for item in found if item.is_dir for path in files_below(client, run_id, item.path)]
    return sorted([item.path for item in found if not item.is_dir] + inner)


def behind(folder: Path, tracker: MemoryTracker) -> Case:
    """A backlog whose teller tells another tracker; a view waits until all has been told."""
    backlog = Backlog(folder)
    teller = Teller(backlog, "memory", lambda: tracker)
    teller.begin()

    def view(run_id: str) -> View:
        while teller.missing:
            time.sleep(0.01)
        return memory_view(tracker, run_id)

    return Case(backlog, view)


@pytest.fixture(params=["memory", "mlflow", "backlog"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    if request.param == "backlog":
        return behind(tmp_path_factory.mktemp("sweep"), MemoryTracker())
    if request.param == "memory":
        memory = MemoryTracker()
        return Case(memory, lambda run_id: memory_view(memory, run_id))
    tracker: MlflowTracker = request.getfixturevalue("mlflow_tracker")
    return Case(tracker, lambda run_id: mlflow_view(tracker._client, run_id))


def test_settings_are_read_back_as_texts(case: Case) -> None:
    params = case.view(case.tracker.start(TRIAL)).params
    assert params == {"selector.gamma": "0.1", "model.lora": "null", "data.finetune": "sandbox"}


def test_a_run_is_found_by_its_kind_and_key(case: Case) -> None:
    tags = case.view(case.tracker.start(RunSpec("stage", "0a1b", "rank 0a1b", stage="rank"))).tags
    assert (tags["raysafe.kind"], tags["raysafe.key"], tags["raysafe.stage"]) == ("stage", "0a1b", "rank")


def test_the_same_key_goes_on_in_the_same_run(case: Case) -> None:
    first = case.tracker.start(TRIAL)
    case.tracker.end(first, "INTERRUPTED")
    assert case.tracker.start(TRIAL) == first
    assert case.view(first).tags["raysafe.status"] == "RUNNING"


def test_equal_keys_of_two_kinds_are_two_runs(case: Case) -> None:
    assert case.tracker.start(RunSpec("sweep", "a", "a")) != case.tracker.start(RunSpec("trial", "a", "a"))


def test_a_changed_setting_keeps_its_first_value_and_is_named_in_a_tag(case: Case) -> None:
    case.tracker.start(TRIAL)
    view = case.view(case.tracker.start(RunSpec("trial", "000-a", "a", params={"selector.gamma": 0.2, "new.setting": 1})))
    assert (view.params["selector.gamma"], view.params["new.setting"]) == ("0.1", "1")
    assert view.tags["raysafe.changed.selector.gamma"] == "0.2"


def test_more_settings_than_fit_one_call_are_all_kept(case: Case) -> None:
    many = {f"a.b{place}": place for place in range(250)}
    assert len(case.view(case.tracker.start(RunSpec("trial", "many", "many", params=many))).params) == 250


def test_a_long_setting_says_that_it_is_cut_off(case: Case) -> None:
    run_id = case.tracker.start(RunSpec("trial", "long", "long", params={"a.b": "x" * 7000}))
    text = case.view(run_id).params["a.b"]
    assert len(text) == 6000
    assert text.endswith("x… (cut off; 7000 characters in all)")


def test_metrics_are_kept_by_step(case: Case) -> None:
    run_id = case.tracker.start(TRIAL)
    case.tracker.log(run_id, 1, {"train/loss": 2.0})
    case.tracker.log(run_id, 2, {"train/loss": 1.5, "train/lr": 0.1}, time_ms=5)
    assert case.view(run_id).metrics == [("train/loss", 1, 2.0), ("train/loss", 2, 1.5), ("train/lr", 2, 0.1)]


def test_metrics_told_again_after_a_restart_are_kept_once(case: Case) -> None:
    run_id = case.tracker.start(TRIAL)
    case.tracker.log(run_id, 1, {"train/loss": 2.0})
    case.tracker.start(TRIAL)
    for step in (1, 1, 2):
        case.tracker.log(run_id, step, {"train/loss": 2.0})
    assert case.view(run_id).metrics == [("train/loss", 1, 2.0), ("train/loss", 2, 2.0)]


def test_a_metric_has_one_value_a_step_the_first_that_is_told(case: Case) -> None:
    run_id = case.tracker.start(TRIAL)
    for value in (2.0, 3.0):
        case.tracker.log(run_id, 1, {"train/tokens_per_s": value})
    assert case.view(run_id).metrics == [("train/tokens_per_s", 1, 2.0)]


def test_values_that_are_not_finite_are_named_in_a_tag(case: Case) -> None:
    run_id = case.tracker.start(TRIAL)
    case.tracker.log(run_id, 3, {"train/loss": math.nan, "train/lr": 0.1, "selector/gamma": math.inf})
    view = case.view(run_id)
    assert view.metrics == [("train/lr", 3, 0.1)]
    assert view.tags["raysafe.not_finite"] == "step 3: train/loss, selector/gamma"


def test_a_metric_with_an_odd_name_is_kept(case: Case) -> None:
    run_id = case.tracker.start(TRIAL)
    case.tracker.log(run_id, 1, {"eval/asr_hörbar(2)": 0.5})
    assert case.view(run_id).metrics == [("eval/asr_h_rbar_2_", 1, 0.5)]


def test_files_and_folders_are_kept(case: Case, a_file: Path) -> None:
    run_id = case.tracker.start(TRIAL)
    case.tracker.artifact(run_id, a_file)
    case.tracker.artifact(run_id, a_file.parent, "plots")
    assert case.view(run_id).artifacts == ["plots/rows.txt", "rows.txt"]


def test_datasets_are_kept_once_with_fingerprint_and_role(case: Case) -> None:
    run_id = case.tracker.start(TRIAL)
    for _ in range(2):
        case.tracker.dataset(run_id, DatasetSpec("rows", "rows.jsonl", "0123abcd", "finetune"))
    assert case.view(run_id).datasets == [("rows", "0123abcd", "finetune")]


@pytest.mark.parametrize("status", ["FINISHED", "STOPPED", "FAILED", "INTERRUPTED"])
def test_an_end_says_how_and_why(case: Case, status: Any) -> None:
    run_id = case.tracker.start(TRIAL)
    case.tracker.end(run_id, status, "out of memory")
    tags = case.view(run_id).tags
    assert (tags["raysafe.status"], tags["raysafe.error"]) == (status, "out of memory")
