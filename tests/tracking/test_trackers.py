"""The contract: what holds for every tracker, read back through one small view."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from raysafe.tracking import (
    TABLES,
    Backlog,
    Chart,
    Column,
    DatasetSpec,
    MemoryTracker,
    MlflowTracker,
    ModelSpec,
    RunSpec,
    Teller,
    Tracker,
    View,
)

TRIAL = RunSpec("trial", "000-a", "gamma 0.1", params={"selector.gamma": 0.1, "model.lora": None, "data.finetune": "sandbox"})
GAMMA = Column("param", "gamma")
VIEW = View("best", "Best", "trial", (GAMMA,), (Chart("parallel", (GAMMA,)),), GAMMA)


@dataclass(frozen=True)
class Seen:
    """What a run holds. `metrics`: sorted (name, step, value). `tables`: paths of what is shown as a table."""

    params: dict[str, str]
    tags: dict[str, str]
    metrics: list[tuple[str, int, float]]
    artifacts: list[str]
    tables: list[str]
    datasets: list[tuple[str, str, str, int | None]]
    models: list[tuple[str, str, str]]


@dataclass(frozen=True)
class Case:
    """A tracker, how a run is seen in it, and how a view's name by its key."""

    tracker: Tracker
    view: Callable[[str], Seen]
    name_of_view: Callable[[str], str]


def memory_view(tracker: MemoryTracker, run_id: str) -> Seen:
    run = tracker.runs[run_id]
    datasets = [(item.name, item.fingerprint, item.context, item.rows) for item in run.datasets]
    tables = sorted({path for path in run.artifacts if path.startswith(f"{TABLES}/")})
    models = [(model.name, model.path, model.register_as) for model in run.models]
    return Seen(run.params, run.tags, sorted(run.metrics), sorted(set(run.artifacts)), tables, datasets, models)


def mlflow_view(client: Any, run_id: str) -> Seen:
    run = client.get_run(run_id)
    histories = [client.get_metric_history(run_id, name) for name in run.data.metrics]
    metrics = sorted((row.key, row.step, row.value) for history in histories for row in history)
    tags = {"description" if name == "mlflow.note.content" else name: value for name, value in run.data.tags.items()}
    tables = [item["path"] for item in json.loads(tags.get("mlflow.loggedArtifacts", "[]"))]
    datasets = [
        (item.dataset.name, item.dataset.digest, item.tags[0].value, json.loads(item.dataset.profile or "{}").get("num_rows"))
        for item in run.inputs.dataset_inputs
    ]
    outputs = run.outputs.model_outputs if run.outputs else []
    models = [model_seen(client, run_id, client.get_logged_model(output.model_id)) for output in outputs]
    return Seen(run.data.params, tags, metrics, files_below(client, run_id, None), tables, datasets, models)


def model_seen(client: Any, run_id: str, model: Any) -> tuple[str, str, str]:
    """With the name of the registered model that it is a version of; there is one version, or none."""
    versions = list(client.search_model_versions(f"run_id = '{run_id}'"))
    assert model.status == "READY" and model.source_run_id == run_id and len(versions) < 2
    assert all(version.tags["raysafe.path"] == model.tags["raysafe.path"] for version in versions)
    return model.name, model.tags["raysafe.path"], versions[0].name if versions else ""


def name_in_mlflow(tracker: MlflowTracker, key: str) -> str:
    tags = tracker._client.get_experiment(tracker._experiment_id).tags
    return json.loads(tags[f"mlflow.sharedViewState.{key}"])["name"]


def files_below(client: Any, run_id: str, folder: str | None) -> list[str]:
    found = client.list_artifacts(run_id, folder)
    inner = [path for item in found if item.is_dir for path in files_below(client, run_id, item.path)]
    return sorted([item.path for item in found if not item.is_dir] + inner)


def behind(folder: Path, tracker: MemoryTracker) -> Case:
    """A backlog whose teller tells another tracker; a view waits until all has been told."""
    backlog = Backlog(folder)
    teller = Teller(backlog, "memory", lambda: tracker)
    teller.begin()

    def told() -> MemoryTracker:
        while teller.missing:
            time.sleep(0.01)
        return tracker

    return Case(backlog, lambda run_id: memory_view(told(), run_id), lambda key: told().views[key].name)


@pytest.fixture(params=["memory", "mlflow", "backlog"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    if request.param == "backlog":
        return behind(tmp_path_factory.mktemp("sweep"), MemoryTracker())
    if request.param == "memory":
        memory = MemoryTracker()
        return Case(memory, lambda run_id: memory_view(memory, run_id), lambda key: memory.views[key].name)
    tracker: MlflowTracker = request.getfixturevalue("mlflow_tracker")
    return Case(tracker, lambda run_id: mlflow_view(tracker._client, run_id), lambda key: name_in_mlflow(tracker, key))


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


def test_a_table_is_shown_once_however_often_it_is_told(case: Case, tmp_path: Path) -> None:
    run_id = case.tracker.start(TRIAL)
    for name in ("selection", "verdicts", "selection"):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"columns": ["rank"], "data": [[1]]}))
        case.tracker.artifact(run_id, path, TABLES)
    seen = case.view(run_id)
    assert seen.tables == seen.artifacts == ["tables/selection.json", "tables/verdicts.json"]


def test_datasets_are_kept_once_with_fingerprint_role_and_size(case: Case) -> None:
    run_id = case.tracker.start(TRIAL)
    for _ in range(2):
        case.tracker.dataset(run_id, DatasetSpec("rows", "rows.jsonl", "0123abcd", "finetune", 400))
    assert case.view(run_id).datasets == [("rows", "0123abcd", "finetune", 400)]


def test_a_description_may_come_after_the_end(case: Case) -> None:
    run_id = case.tracker.start(replace(TRIAL, tags={"description": "γ = 0.1. It runs."}))
    assert case.view(run_id).tags["description"] == "γ = 0.1. It runs."
    case.tracker.end(run_id, "FINISHED")
    case.tracker.note(run_id, {"description": "γ = 0.1. It ended well.", "raysafe.used": "a, b"})
    tags = case.view(run_id).tags
    assert (tags["description"], tags["raysafe.used"]) == ("γ = 0.1. It ended well.", "a, b")
    assert tags["raysafe.status"] == "FINISHED"


@pytest.mark.parametrize("register_as", ["", "best of all"])
def test_a_model_is_known_once_and_stays_where_it_is(case: Case, register_as: str) -> None:
    run_id = case.tracker.start(TRIAL)
    for _ in range(2):
        case.tracker.model(run_id, ModelSpec("γ=0_1", "/store/checkpoint", register_as))
    seen = case.view(run_id)
    assert seen.models == [("γ=0_1", "/store/checkpoint", register_as)]
    assert seen.artifacts == []


def test_a_store_that_is_there_answers(case: Case) -> None:
    assert case.tracker.answers()


def test_a_view_gives_way_to_one_of_its_key(case: Case) -> None:
    case.tracker.view(VIEW)
    case.tracker.view(replace(VIEW, name="Better"))
    assert case.name_of_view("best") == "Better"


@pytest.mark.parametrize("status", ["FINISHED", "STOPPED", "FAILED", "INTERRUPTED"])
def test_an_end_says_how_and_why(case: Case, status: Any) -> None:
    run_id = case.tracker.start(TRIAL)
    case.tracker.end(run_id, status, "out of memory")
    tags = case.view(run_id).tags
    assert (tags["raysafe.status"], tags["raysafe.error"]) == (status, "out of memory")
