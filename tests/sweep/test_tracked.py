"""What the tracker is told of a ranking; no cluster is needed."""

import copy
import json
from types import SimpleNamespace

import pytest
import tiny

from raysafe.artifacts import Store, plain, write_json
from raysafe.config.sweeps import make_sweep
from raysafe.data.records import EvalPrompt, Identity, Message
from raysafe.data.references import DataRef
from raysafe.evaluation.answering import Answer, Answers, write_lines
from raysafe.evaluation.metrics import Rate
from raysafe.ranking.diagnosis import DIAGNOSIS_FILE, diagnose
from raysafe.ranking.tables import Ranking, keep_top
from raysafe.sweep import tracked_tables
from raysafe.sweep.events import JobChanged, JobState, TrialEnded
from raysafe.sweep.record import compared
from raysafe.sweep.tracked import SweepEnd, TrackedRuns
from raysafe.sweep.trial_record import TrialRecord
from raysafe.tracking.base import RunSpec
from raysafe.tracking.memory import MemoryTracker
from raysafe.trial import TrialResult

SCORES = list(range(10))
ROWS = [tiny.example(i, response=f"answer {i}", unsafe=i == 0) for i in range(10)]


def inputs_of(data):
    """Of a trial that reads one file."""
    return SimpleNamespace(data=lambda: {"finetune": data}, finetune=data, model=None, ranker=None, prompts={}, reference=None)


def rows_file(folder):
    path = folder / "rows.jsonl"
    lines = ({"prompt": row.prompt[-1].content, "response": row.response} for row in ROWS)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def make_stages(store, data):
    """A ranking, and one answer that two judges disagree about."""
    selector = {"name": "seal", "gamma": 0.1, "epochs": 4}
    inputs = {"selector": selector, "seed": 0, "model": {"folder": "/m", "key": "k"}, "finetune": plain(data), "safe": None}
    with store.making("rank", "key", inputs) as (folder, result):
        write_json(folder / DIAGNOSIS_FILE, diagnose(Ranking.of(ROWS, SCORES, {})))
        write_json(folder / "history.json", [])
        result.update(rows=10, planted=0)
    with store.making("answers", "key", {}) as (folder, _):
        prompts = {("harmful", 0): EvalPrompt(Identity("p", 0), (Message("user", "ask"),))}
        Answers((Answer("direct", "harmful", "", 0, "hash", "", "said"),), prompts).save(folder)
    for name in ("a", "b"):
        with store.making("verdicts", name, {}) as (folder, result):
            write_lines(folder / "verdicts.jsonl", [{"hit": name == "a"}])
            result["judge"] = {"name": name}


def changed(state):
    return JobChanged(1.0, "rank-key", "rank", True, (), state)


def ended_stage(tmp_path, history):
    """Runs whose only shared stage, a ranking, has ended."""
    store = Store(tmp_path)
    with store.making("rank", "key", {}) as (folder, _):
        write_json(folder / DIAGNOSIS_FILE, diagnose(Ranking.of(ROWS, list(range(10)), {})))
        write_json(folder / "history.json", history)
    runs = TrackedRuns(MemoryTracker(), store)
    runs.shared.changed(changed(JobState.DONE))
    return runs


def test_a_rankings_figures_are_metrics_of_its_stage_at_its_last_step(tmp_path):
    runs = ended_stage(tmp_path, [{"step": 25, "metrics": {}}, {"step": 50, "metrics": {}}])
    (run,) = runs.tracker.runs.values()
    assert ("selector/auc", 50, 1.0) in run.metrics and ("selector/unsafe_share_80", 50, 0.0) in run.metrics
    assert run.artifacts == ["manifest.json", DIAGNOSIS_FILE] and run.status == "FINISHED"


def test_a_ranking_that_reported_nothing_has_its_figures_at_step_0(tmp_path):
    (run,) = ended_stage(tmp_path, []).tracker.runs.values()
    assert ("selector/auc", 0, 1.0) in run.metrics


def test_a_stage_that_is_stopped_and_wanted_again_is_running_again(tmp_path):
    runs = TrackedRuns(MemoryTracker(), Store(tmp_path))
    seen = []
    for state in (JobState.RUNNING, JobState.STOPPED, JobState.QUEUED, JobState.RUNNING):
        runs.shared.changed(changed(state))
        seen.append(runs.tracker.runs["stage:key"].status)
    assert seen == ["RUNNING", "STOPPED", "STOPPED", "RUNNING"]


def finished(name, file=None):
    config = SimpleNamespace(selection=SimpleNamespace(file=file))
    return SimpleNamespace(plan=SimpleNamespace(name=name, config=config), jobs={"rank": "rank-key", "train": "train-key"})


def test_a_rankings_picture_goes_to_its_stage_once(tmp_path):
    runs, picture = ended_stage(tmp_path, []), tmp_path / "seal.png"
    picture.write_bytes(b"png")
    runs.shared.titles = dict(zip("abc", "abc", strict=True))
    for name in "abc":
        runs.tracker.start(RunSpec("trial", name, name))
    runs.rankings(tmp_path, [finished("a"), finished("b"), finished("c", "kept.parquet")], dict.fromkeys("abc", picture))
    stage, *trials = runs.tracker.runs.values()
    assert stage.artifacts.count("seal.png") == 1 and [run.artifacts for run in trials] == [["plots/seal.png"]] * 3


def test_a_broken_selection_costs_the_comparison_and_not_the_record(tmp_path):
    (tmp_path / "trials" / "000").mkdir(parents=True)
    (tmp_path / "trials" / "000" / "selection.parquet").write_text("broken")
    with pytest.warns(UserWarning, match="`raysafe report` tries it again"):
        assert compared(tmp_path) == ({}, None)


TWO = make_sweep(
    {
        "name": "two",
        "question": "Which?",
        "sweep": {"grid": {"selector.gamma": [0.1, 0.2]}},
        "objective": "sft",
        "tracking": {"register": "best of two"},
    }
)


def tell(tracker, store, data, folder):
    """A trial that has finished, with a ranking, a selection, and two judges; another that failed; and the sweep's end."""
    jobs = {"rank-key": "rank", "answers-key": "answers", "verdicts-a": "verdicts", "verdicts-b": "verdicts", "train-1": "train"}
    runs, rows = TrackedRuns(tracker, store, TWO.logs_text), []
    runs.start_sweep(TWO, folder)
    runs.shared.changed(changed(JobState.DONE))
    for plan, end in zip(TWO.trials, ("FINISHED", "FAILED"), strict=True):
        trial = TrialRecord(plan, folder / "trials" / plan.name, asked=jobs, epoch=4, started=1.0, ended=3.0)
        runs.start_trial(trial, inputs_of(data), 1.0)
        keep_top(Ranking.of(ROWS, SCORES, {}), 50).save(trial.folder / "selection.parquet")
        trial.status, trial.error = end, "" if end == "FINISHED" else "no memory"
        trial.result = TrialResult({"safety_score": Rate(1.0, 0.9, 1.0, 8)}, 5, 0.0, 1.0, store.artifact("train", "1"))
        trial.costs = {"seconds_rank": 1.5, **({} if end == "FINISHED" else {"same_as": TWO.trials[0].name})}
        runs.end_trial(trial, TrialEnded(3.0, plan.name, end, trial.result, trial.error))
        rows.append(trial.row())
    used = {"rank-key": [plan.name for plan in TWO.trials]}
    runs.rankings(folder, [], dict.fromkeys(used["rank-key"], store.root.parent / "rows.jsonl"))
    runs.end_sweep(TWO, SweepEnd("FAILED", folder, rows, used))


@pytest.fixture
def stored(tmp_path):
    """The store behind it, D, and the sweep's folder."""
    data = DataRef(diagnose(Ranking.of(ROWS, SCORES, {})).fingerprint, str(rows_file(tmp_path)), rows=len(ROWS))
    make_stages(store := Store(tmp_path), data)
    return store, data, tmp_path / "two"


@pytest.fixture
def told(stored):
    """The tracker's runs, and the sweep's folder."""
    tracker = MemoryTracker()
    tell(tracker, *stored)
    return tracker.runs, stored[-1]


def test_told_again_the_record_is_the_same(stored):
    tracker = MemoryTracker()
    tell(tracker, *stored)
    once, views = copy.deepcopy(tracker.runs), dict(tracker.views)
    tell(tracker, *stored)
    for run in (*once.values(), *tracker.runs.values()):
        run.artifacts = sorted(set(run.artifacts))  # a file told again is kept over the one of its name
    assert tracker.runs == once and tracker.views == views


def test_a_table_that_is_cut_says_so_in_the_description(stored, monkeypatch):
    monkeypatch.setattr(tracked_tables, "MOST_ROWS", 4)
    monkeypatch.setattr(tracked_tables, "ENDS", 2)
    tell(tracker := MemoryTracker(), *stored)
    said = tracker.runs["trial:000-gamma0.1_seed0"].tags["description"]
    assert "Table selection: 4 of 10 rows: the 2 highest, the 2 lowest" in said and "Table verdicts" not in said


def test_the_comparison_opens_on_what_was_swept_and_what_all_trials_have(stored):
    tracker = MemoryTracker()
    tell(tracker, *stored)
    assert [column.name for column in tracker.views["compare"].columns] == ["gamma", "eval/safety_score"]


def test_a_trials_run_is_called_and_compared_by_what_was_swept(told):
    run = told[0]["trial:000-gamma0.1_seed0"]
    assert run.spec.name == "γ=0.1 seed 0"
    assert run.params == {"gamma": "0.1", "seed": "0", "selector.gamma": "0.1"}
    assert ("seconds/rank", 0, 1.5) in run.metrics and run.models[0].name == "γ=0.1 seed 0"


def test_a_run_says_what_it_was_how_it_ended_and_whom_it_shares_with(told):
    finished, failed, ranked, sweep = (told[0][id].tags for id in (
        "trial:000-gamma0.1_seed0", "trial:001-gamma0.2_seed0", "stage:key", "sweep:two",
    ))  # fmt: skip
    assert finished["description"].startswith(
        "SEAL with γ = 0.1 keeps 80 % of 10 rows, then SFT trains on them, seed 0. It finished"
    )
    assert "no memory. Its training is that of [γ=0.1 seed 0](#/experiments/" in failed["description"]
    assert failed["raysafe.same_as"] == "000-gamma0.1_seed0"
    assert finished["raysafe.stage.rank"] == "rank γ=0.1 seal seed 0 {run:stage:key}"
    assert ranked["raysafe.trials"] == "γ=0.1 seed 0, γ=0.2 seed 0" and "Used by [γ=0.1 seed 0](" in ranked["description"]
    assert sweep["description"].startswith("Which? Of 2 trials 1 finished, 1 failed.")


def test_the_best_trial_is_registered_where_the_sweep_asks_for_it(told):
    sweep = told[0]["sweep:two"].tags
    assert told[0]["trial:000-gamma0.1_seed0"].models[-1].register_as == "best of two"
    assert sweep["raysafe.best"] == "γ=0.1 seed 0 {run:trial:000-gamma0.1_seed0}" and sweep["description"].endswith(
        "as best of two."
    )


def test_a_ranking_has_its_settings_and_its_data(told):
    run = told[0]["stage:key"]
    assert run.spec.name == "rank γ=0.1 seal seed 0" and run.params["gamma"] == "0.1" and run.params["rows"] == "10"
    assert [(data.name, data.context, data.rows) for data in run.datasets] == [("rows.jsonl", "finetune", 10)]
    assert [(data.name, data.context, data.rows) for data in told[0]["trial:000-gamma0.1_seed0"].datasets] == [
        ("rows.jsonl", "finetune", 10)
    ]


def test_a_trials_tables_are_in_its_folder_and_its_run(told):
    runs, folder = told
    run = runs["trial:000-gamma0.1_seed0"]
    names = ("selection", "verdicts", "overlap")
    assert {f"tables/{name}.json" for name in names} <= set(run.artifacts) and run.tags["raysafe.table.verdicts"] == "1 row"
    tables = {name: json.loads((folder / "trials" / run.spec.key / "tables" / f"{name}.json").read_text()) for name in names}
    assert tables["verdicts"]["columns"][4:] == ["a", "b", "disagree", "row"] and tables["verdicts"]["data"][0][-2] is True
    assert tables["overlap"]["data"] == [["γ=0.2 seed 0", 5, 5, 1.0, "001-gamma0.2_seed0"]]
    assert tables["selection"]["data"][0][6] == "answer 9"


def test_a_file_that_has_changed_costs_a_table_and_not_the_record(tmp_path):
    runs = TrackedRuns(MemoryTracker(), Store(tmp_path))
    (plan,) = make_sweep({"name": "one"}).trials
    trial = TrialRecord(plan, tmp_path, started=1.0, ended=2.0, status="STOPPED")
    runs.start_trial(trial, inputs_of(DataRef("gone", str(tmp_path / "gone.jsonl"))), 1.0)
    keep_top(Ranking.of(ROWS, SCORES, {}), 50).save(tmp_path / "selection.parquet")
    with pytest.warns(UserWarning, match="The tables of 000-seed0 could not be recorded"):
        runs.end_trial(trial, TrialEnded(2.0, plan.name, "STOPPED"))
    assert runs.tracker.runs["trial:000-seed0"].status == "STOPPED"
