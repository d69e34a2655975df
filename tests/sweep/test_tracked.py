"""What the tracker is told of a ranking; no cluster is needed."""

from types import SimpleNamespace

import pytest
import tiny

from raysafe.artifacts import Store, write_json
from raysafe.ranking.diagnosis import DIAGNOSIS_FILE, diagnose
from raysafe.ranking.tables import Ranking
from raysafe.sweep.events import JobChanged, JobState
from raysafe.sweep.record import compared
from raysafe.sweep.tracked import TrackedRuns
from raysafe.tracking.memory import MemoryTracker

ROWS = [tiny.example(i, response=f"answer {i}", unsafe=i == 0) for i in range(10)]


def changed(state):
    return JobChanged(1.0, "rank-key", "rank", True, (), state)


def ended_stage(tmp_path, history):
    """Runs whose only shared stage, a ranking, has ended."""
    store = Store(tmp_path)
    with store.making("rank", "key", {}) as (folder, _):
        write_json(folder / DIAGNOSIS_FILE, diagnose(Ranking.of(ROWS, list(range(10)), {})))
        write_json(folder / "history.json", history)
    runs = TrackedRuns(MemoryTracker(), store)
    runs.stage_changed(changed(JobState.DONE))
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
        runs.stage_changed(changed(state))
        seen.append(runs.tracker.runs["stage:key"].status)
    assert seen == ["RUNNING", "STOPPED", "STOPPED", "RUNNING"]


def finished(name, file=None):
    config = SimpleNamespace(selection=SimpleNamespace(file=file))
    return SimpleNamespace(plan=SimpleNamespace(name=name, config=config), jobs={"rank": "rank-key", "train": "train-key"})


def test_a_rankings_picture_goes_to_its_stage_once(tmp_path):
    runs, picture = ended_stage(tmp_path, []), tmp_path / "seal.png"
    picture.write_bytes(b"png")
    runs.rankings([finished("a"), finished("b"), finished("c", "kept.parquet")], dict.fromkeys("abc", picture))
    (run,) = runs.tracker.runs.values()
    assert run.artifacts.count("seal.png") == 1


def test_a_broken_selection_costs_the_comparison_and_not_the_record(tmp_path):
    (tmp_path / "trials" / "000").mkdir(parents=True)
    (tmp_path / "trials" / "000" / "selection.parquet").write_text("broken")
    with pytest.warns(UserWarning, match="`raysafe report` tries it again"):
        assert compared(tmp_path) == {}
