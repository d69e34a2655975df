"""What the tracker is told of a ranking; no cluster is needed."""

from types import SimpleNamespace

import pytest
import tiny

from raysafe.artifacts import Store, write_json
from raysafe.cluster.record import Recorder
from raysafe.ranking.diagnosis import DIAGNOSIS_FILE, diagnose
from raysafe.ranking.tables import Ranking
from raysafe.sweep.desk import Event, JobState
from raysafe.sweep.tracked import TrackedRuns
from raysafe.sweep.trial_record import TrialEnd, UsedStage
from raysafe.tracking.memory import MemoryTracker

ROWS = [tiny.example(i, response=f"answer {i}", unsafe=i == 0) for i in range(10)]


def ended_stage(tmp_path, history):
    """Runs whose only shared stage, a ranking, has ended."""
    store = Store(tmp_path)
    with store.making("rank", "key", {}) as (folder, _):
        write_json(folder / DIAGNOSIS_FILE, diagnose(Ranking.of(ROWS, list(range(10)), {})))
        write_json(folder / "history.json", history)
    runs = TrackedRuns(MemoryTracker(), store)
    runs.stage_event(Event("rank-key", "rank", True, (), JobState.DONE))
    return runs


def test_a_rankings_figures_are_metrics_of_its_stage_at_its_last_step(tmp_path):
    runs = ended_stage(tmp_path, [{"step": 25, "metrics": {}}, {"step": 50, "metrics": {}}])
    (run,) = runs.tracker.runs.values()
    assert ("selector/auc", 50, 1.0) in run.metrics and ("selector/unsafe_share_80", 50, 0.0) in run.metrics
    assert run.artifacts == ["manifest.json", DIAGNOSIS_FILE] and run.status == "FINISHED"


def test_a_ranking_that_reported_nothing_has_its_figures_at_step_0(tmp_path):
    (run,) = ended_stage(tmp_path, []).tracker.runs.values()
    assert ("selector/auc", 0, 1.0) in run.metrics


def finished(name, file=None):
    config = SimpleNamespace(selection=SimpleNamespace(file=file))
    end = TrialEnd(used=(UsedStage("rank", True, "rank", "key"),))
    return SimpleNamespace(plan=SimpleNamespace(name=name, config=config), end=end)


def test_a_rankings_picture_goes_to_its_stage_once(tmp_path):
    runs, picture = ended_stage(tmp_path, []), tmp_path / "seal.png"
    picture.write_bytes(b"png")
    runs.rankings([finished("a"), finished("b"), finished("c", "kept.parquet")], dict.fromkeys("abc", picture))
    (run,) = runs.tracker.runs.values()
    assert run.artifacts.count("seal.png") == 1


def test_a_broken_selection_costs_the_comparison_and_not_the_record(tmp_path):
    (tmp_path / "trials" / "000").mkdir(parents=True)
    (tmp_path / "trials" / "000" / "selection.parquet").write_text("broken")
    recorder = Recorder(SimpleNamespace(folder=tmp_path, trials=[], groups=SimpleNamespace(store=None)), MemoryTracker(), None)
    with pytest.warns(UserWarning, match="`raysafe report` tries it again"):
        recorder._compare_rankings()
