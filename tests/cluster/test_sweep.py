"""Real sweeps on real Ray, DeepSpeed and MLflow, with a random model: what is made, recorded, stopped, and freed."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from freed import everything_is_free
from mlflow.tracking import MlflowClient
from rich.console import Console
from small import small_trial
from transformers import AutoModelForCausalLM

from raysafe.cli import main
from raysafe.cluster.running import RunOptions, run_sweep
from raysafe.config.sweeps import load_sweep, make_sweep
from raysafe.errors import ConfigError
from raysafe.ranking.tables import COLUMNS
from raysafe.report.live import LiveTable

pytestmark = pytest.mark.usefixtures("ray_here")
GRID = {"grid": {"selector.gamma": [0.05, 0.5], "objective.name": ["sft", "wdoor"]}}


def sweep_of(model_folder, **sections):
    return make_sweep(small_trial(model_folder, **sections))


def run(sweep, storage, **options):
    result = run_sweep(sweep, RunOptions(storage=storage, **options), LiveTable(Console(quiet=True)))
    return result, pd.read_csv(result.folder / "summary.csv")


@pytest.fixture(scope="module")
def finished(ray_here, random_model, storage):
    """Two gammas crossed with two objectives."""
    return *run(sweep_of(random_model, name="grid", sweep=GRID), storage), storage


def test_all_trials_of_a_grid_finish_and_are_in_the_summary(finished):
    result, table, _ = finished
    assert result.exit_code == 0
    assert table["status"].tolist() == ["FINISHED"] * 4
    assert table[["selector.gamma", "objective.name"]].values.tolist() == [
        [0.05, "sft"], [0.05, "wdoor"], [0.5, "sft"], [0.5, "wdoor"],
    ]  # fmt: skip
    for column in ("win_rate", "safety_score", "asr_direct", "asr_prefill", "over_refusal", "utility"):
        assert table[column].between(0, 1).all(), column


def test_shared_stages_are_made_once(finished):
    """Two gammas, two rankings and selections; where both keep the same rows, their trainings are one, too. Answers, verdicts and
    readings are the reference's and each training's; log-probs the reference's, with and without prefixes, and the proxy's."""
    result, _, storage = finished
    made = {kind.name: len(list(kind.glob("*/manifest.json"))) for kind in (storage / "artifacts").iterdir()}
    tables = [pd.read_parquet(path) for path in result.folder.glob("trials/*/selection.parquet")]
    trained = 2 * len({tuple(table["row"][table["selected"]]) for table in tables})
    shared = {"world": 1, "rank": 2, "selection": 2, "log_probs": 3}
    assert made == {**shared, **dict.fromkeys(("train", "answers", "verdicts", "readings"), trained + 1)}


def test_the_trials_have_paid_for_all_the_work(finished):
    """By the desk's clock, which counts from the order to the word of its end: never less than the stages' own."""
    _, table, storage = finished
    for kind in ("rank", "log_probs", "train"):
        made = [json.loads(path.read_text())["seconds"] for path in (storage / "artifacts" / kind).glob("*/manifest.json")]
        assert sum(made) <= table[f"seconds_{kind}"].sum() + 0.05 < sum(made) + 2 * len(made)
    assert (table["seconds_saved"] > 0).any() and table["same_as"].dropna().isin(table["trial"]).all()


def test_a_trial_leaves_its_selection_and_a_checkpoint_that_loads(finished):
    result, table, _ = finished
    folder = result.folder / "trials" / table["trial"][3]
    selection = pd.read_parquet(folder / "selection.parquet")
    assert tuple(selection.columns[:6]) == COLUMNS
    assert selection["selected"].sum() == table["selected_rows"][3] == 26  # 80 % of 32, rounded up
    assert AutoModelForCausalLM.from_pretrained(folder / "checkpoint").num_parameters() > 0
    assert yaml.safe_load((folder / "config.yaml").read_text())["objective"]["name"] == "wdoor"


def test_rankings_are_compared_when_a_sweep_ends(finished):
    result, table, _ = finished
    rankings = pd.read_csv(result.folder / "rankings" / "rankings.csv")
    assert rankings["selector.gamma"].tolist() == [0.05, 0.5] and rankings["trials"][0] == " ".join(table["trial"][:2])
    overlap = pd.read_csv(result.folder / "rankings" / "overlap.csv")
    assert overlap["differ"].tolist() == ["selector.gamma"] and -1 <= overlap["spearman"][0] <= 1
    assert (result.folder / "rankings" / "overlap.png").exists()


def test_a_finished_sweep_goes_on_from_its_own_file_to_the_same_end(finished, capsys):
    result, table, storage = finished
    file = str(result.folder / "sweep.yaml")
    assert main(["sweep", file, "--storage", str(storage), "--resume", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [trial["trial"] for trial in told["trials"]] == table["trial"].tolist() and len(told["base"]) == 1
    assert told["tracking_uri"] == result.tracking_uri and told["compare"].startswith("http://127.0.0.1:5000/#/")


def test_its_driver_leaves_a_last_word_of_how_it_ended(finished, capsys):
    result, table, _ = finished
    assert main(["status", str(result.folder), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["sweeps"]
    assert (told["state"], told["done"], told["waiting"], told["left_s"]) == ("finished", 4, "", None)
    assert [trial["figures"]["win_rate"] for trial in told["trials"]] == pytest.approx(table["win_rate"].tolist())


def test_a_tracked_trial_is_run_again_and_compared(finished, tmp_path, capsys):
    result, table, _ = finished
    client = MlflowClient(result.tracking_uri)
    runs = client.search_runs([client.get_experiment_by_name("grid").experiment_id])
    (run,) = [run.info.run_id for run in runs if run.data.tags["raysafe.key"] == table["trial"][0]]
    assert main(["reproduce", run, "--tracking-uri", result.tracking_uri, "--storage", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["differences"] == [] and told["selection"] == {"only_then": 0, "only_now": 0, "both": 26}
    assert len(told["scores"]) > 5 and all(score["equal"] and score["within"] for score in told["scores"])
    folder = tmp_path / "reproduced" / f"{run[:8]}-1"
    assert (folder / "artifacts" / "train").exists() and told["folder"] == str(folder / "single" / table["trial"][0])
    assert load_sweep(f"{told['folder']}/config.yaml").trials[0].config.objective.name == "sft"


def test_everything_is_given_back_after_a_sweep(finished):
    assert everything_is_free()


def test_mlflow_has_a_parent_its_trials_and_its_stages(finished):
    result, table, _ = finished
    client = MlflowClient(result.tracking_uri)
    runs = client.search_runs([client.get_experiment_by_name("grid").experiment_id])
    by_kind = {kind: [r for r in runs if r.data.tags["raysafe.kind"] == kind] for kind in ("sweep", "trial", "stage")}
    assert [len(runs) for runs in by_kind.values()] == [1, 4, 9]
    parent = by_kind["sweep"][0].info.run_id
    assert {run.data.tags["mlflow.parentRunId"] for run in by_kind["trial"] + by_kind["stage"]} == {parent}
    assert {run.info.status for run in runs} == {"FINISHED"}
    trial = next(run for run in by_kind["trial"] if run.data.tags["raysafe.key"] == table["trial"][3])
    assert (
        trial.info.run_name == "γ=0.5 wdoor seed 0" and trial.data.params["gamma"] == trial.data.params["selector.gamma"] == "0.5"
    )
    assert len(client.get_metric_history(trial.info.run_id, "train/loss")) == 2
    assert trial.data.metrics["eval/win_rate"] == pytest.approx(table["win_rate"][3])
    assert {file.path for file in client.list_artifacts(trial.info.run_id)} >= {"selection.parquet", "config.yaml"}
    roles = {item.tags[0].value: item.dataset for item in trial.inputs.dataset_inputs}
    assert set(roles) >= {"finetune", "safe", "align", "harmful"} and roles["harmful"].name == "eval_harmful.jsonl"
    ranked = next(run for run in by_kind["stage"] if run.data.tags["raysafe.stage"] == "rank")
    assert {"selector/auc", "selector/unsafe_share_80"} <= set(ranked.data.metrics)
    files = {file.path for file in client.list_artifacts(ranked.info.run_id)}
    assert "diagnostics.json" in files and any(file.endswith(".png") for file in files)
    assert {"rankings", "report.html", "tables"} <= {file.path for file in client.list_artifacts(parent)}


def test_mlflow_shows_tables_descriptions_links_checkpoints_and_comparisons(finished):
    result, table, _ = finished
    client = MlflowClient(result.tracking_uri)
    experiment = client.get_experiment_by_name("grid")
    runs = client.search_runs([experiment.experiment_id])
    (trial,) = (run for run in runs if run.data.tags["raysafe.key"] == table["trial"][3])
    tables = {item["path"] for item in json.loads(trial.data.tags["mlflow.loggedArtifacts"])}
    assert tables == {"tables/selection.json", "tables/verdicts.json", "tables/overlap.json"}
    (ranked,) = (run for run in runs if run.info.run_name == "rank γ=0.5 seal seed 0")
    for one, other in ((trial, ranked), (ranked, trial)):
        assert f"(#/experiments/{experiment.experiment_id}/runs/{other.info.run_id})" in one.data.tags["mlflow.note.content"]
    assert trial.data.tags["mlflow.note.content"].startswith(
        "SEAL with γ = 0.5 keeps 80 % of 32 rows, then W-DOOR trains on them"
    )
    assert len(client.search_logged_models([experiment.experiment_id])) == 4
    assert "system/cpu_percent" in trial.data.metrics or trial.data.tags.get("raysafe.same_as")
    assert {"mlflow.sharedViewState.compare", "mlflow.sharedViewState.selections"} <= set(experiment.tags)


def test_the_same_name_is_refused_without_resume(finished, random_model):
    with pytest.raises(ConfigError, match="--resume"):
        run(sweep_of(random_model, name="grid", sweep=GRID), finished[2])


def test_resuming_a_finished_sweep_does_nothing_again(finished, random_model):
    result, table, storage = finished
    before = {path: path.stat().st_mtime_ns for path in Path(storage / "artifacts").rglob("manifest.json")}
    again, same = run(sweep_of(random_model, name="grid", sweep=GRID), storage, resume=True)
    assert again.exit_code == 0 and same.equals(table)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_resuming_refuses_another_sweep_under_the_same_name(finished, random_model):
    with pytest.raises(ConfigError, match="other trials"):
        run(sweep_of(random_model, name="grid", sweep=GRID, training={"epochs": 3}), finished[2], resume=True)


def test_more_workers_than_there_are_cpus_are_refused_and_the_name_stays_free(random_model, storage):
    sweep = sweep_of(random_model, name="large", objective="sft", resources={"workers": 4})
    with pytest.raises(ConfigError, match=r"need 4 CPU each, but the cluster has 2 CPU"):
        run(sweep, storage)
    assert not (storage / "large").exists()
    assert everything_is_free()


def test_a_failing_trial_takes_no_other_with_it(random_model, storage, no_pictures):
    """Nor does a guard: what it fails keeps scores and checkpoint, and a training that it stops goes on for others."""
    guards = [{"evaluation.guards": {"utility": {"at_least": 1.0, "do": do}}} for do in ("stop", "fail")]
    points = [{"training.lr": 1e30}, {"training.lr": 1e-3}, *guards]
    sweep = sweep_of(random_model, name="failing", sweep={"points": points}, objective="sft")
    result, table = run(sweep, storage)
    assert result.exit_code == 1
    assert table["status"].tolist() == ["FAILED", "FINISHED", "STOPPED", "FAILED"]
    assert "not finite" in table["error"][0] and "step" in table["error"][0]
    assert (result.folder / "trials" / table["trial"][0] / "error.txt").exists()
    assert all(text.startswith("guard `utility`: ") and "is below at_least 1" in text for text in table["error"][2:])
    assert table["error"][2].endswith("after epoch 1") and table["epochs"].tolist()[1:] == [2, 1, 2]
    assert table["win_rate"][3] == table["win_rate"][1] and (result.folder / "trials" / table["trial"][3] / "checkpoint").exists()
    assert everything_is_free()
