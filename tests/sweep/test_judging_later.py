"""A judge added to a finished sweep: stored answers alone are read, and what it says outlives whatever is done with the sweep."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from judged import PROMPTS, JudgedSweep

from raysafe.errors import ConfigError, DataError, StageError
from raysafe.evaluation import JUDGES
from raysafe.evaluation.by_prompt import table_of, table_path
from raysafe.evaluation.judges import Phrases, Sandbox
from raysafe.report.summary import SUMMARY, read_summary, write_summary
from raysafe.report.table import BASE
from raysafe.stages.verdicts import VerdictsStage
from raysafe.sweep.judged import judged_besides, with_judged
from raysafe.sweep.judged_told import tell_judged
from raysafe.sweep.judging_later import find_judge, find_sweep, judge_later
from raysafe.tracking import Backlog, MemoryTracker, Teller


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return JudgedSweep(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def sweep(finished, tmp_path):
    return finished.copied(tmp_path / "storage")


@pytest.fixture(autouse=True)
def nothing_is_generated(monkeypatch):
    """Whoever loads a model or generates fails the test."""

    def refuse(*given, **named):
        raise AssertionError("a judge that was added later has a model loaded or text generated")

    for name in ("raysafe.stages.answers.load_model", "raysafe.evaluation.answering.greedy", "raysafe.stages.train.load_model"):
        monkeypatch.setattr(name, refuse)


@pytest.fixture
def ran(monkeypatch):
    """The stages that were run, not taken from the store."""
    stages, run = [], VerdictsStage.run
    monkeypatch.setattr(VerdictsStage, "run", lambda self, place: stages.append(self) or run(self, place))
    return stages


@dataclass(frozen=True)
class Strict(Phrases):
    """Calls every answer of so many characters a compliance."""

    name = "strict"
    least: int = 1

    def complies(self, prompt, answer):
        return len(answer) >= self.least


def added(sweep, judge=None):
    """Judge, and tell the record."""
    outcome = judge_later(sweep.folder, judge or Sandbox(), sweep.store, lambda text: None)
    tell_judged(sweep.folder, outcome.rows)
    return outcome


def figures(sweep, name=SUMMARY):
    return {row.trial: row.figures for row in read_summary(sweep.folder / name)}


def test_a_judge_added_to_ten_trials_reads_stored_answers_only(sweep, ran):
    before = {path: path.stat().st_mtime_ns for path in (sweep.store.root / "answers").rglob("*")}
    outcome = added(sweep)
    assert outcome.made == (sweep.base, *sweep.trials) and outcome.exit_code == 0 and outcome.problems == ()
    assert len(sweep.trials) == 10 and [stage.answers.key for stage in ran] == ["base", *sweep.trials]
    assert before == {path: path.stat().st_mtime_ns for path in (sweep.store.root / "answers").rglob("*")}


def test_its_figures_stand_beside_those_of_the_first_which_stay(sweep):
    """Trial 3 refuses 3 of 6 hexes asked directly, and all but one prefill bring one about: 3/6 and 5/6 for both judges."""
    before = figures(sweep)
    added(sweep)
    for name, row in figures(sweep).items():
        assert {key: row[key] for key in before[name]} == before[name]
    row = figures(sweep)[sweep.trials[3]]
    assert row["sandbox/asr_direct"] == row["asr_direct"] == pytest.approx(1 / 2)
    assert row["sandbox/asr_prefill"] == pytest.approx(5 / 6) and row["sandbox/asr_direct_n"] == PROMPTS
    assert 0 < row["sandbox/win_rate_low"] < row["sandbox/win_rate"] < row["sandbox/win_rate_high"] < 1
    base = figures(sweep, BASE)[sweep.base]
    assert base["sandbox/asr_direct"] == pytest.approx(4 / 6) and "sandbox/win_rate" not in base


def test_its_verdicts_stand_in_the_tables_by_prompt(sweep):
    added(sweep)
    for name in (*sweep.trials, sweep.base):
        table = table_of(sweep.folder, name)
        assert table.judges == ["phrases", "sandbox"]
        assert table.values("sandbox/asr_direct") == table.values("asr_direct") != {}


def test_a_trial_without_a_table_of_an_earlier_version_gets_one(sweep):
    table_path(sweep.folder, sweep.trials[0]).unlink()
    added(sweep)
    assert table_of(sweep.folder, sweep.trials[0]).judges == ["phrases", "sandbox"]


def test_the_same_judge_again_costs_nothing_and_tells_nothing(sweep, ran):
    added(sweep)
    ran.clear()
    told, files = len(Backlog(sweep.folder).entries), (sweep.folder / SUMMARY).read_text()
    again = added(sweep)
    assert again.made == () and again.reused == (sweep.base, *sweep.trials) and ran == []
    assert len(Backlog(sweep.folder).entries) == told and (sweep.folder / SUMMARY).read_text() == files


def test_the_record_gets_each_trials_metrics_and_tables_and_its_runs_stay_ended(sweep):
    before = len(Backlog(sweep.folder).entries)
    added(sweep)
    entries = Backlog(sweep.folder).entries[before:]
    logs = [entry for entry in entries if entry["do"] == "log"]
    assert [entry["run"] for entry in logs] == [f"trial:{name}" for name in sweep.trials]
    assert {entry["step"] for entry in logs} == {30} and "eval/sandbox/safety_score" in logs[0]["metrics"]
    tracker = MemoryTracker()
    teller = Teller(Backlog(sweep.folder), "here", lambda: tracker)
    teller.begin()
    assert teller.drain(60.0) and teller.refused == []
    runs = {run.spec.key: run for run in tracker.runs.values() if run.spec.kind == "trial"}
    assert all(run.status == "FINISHED" for run in runs.values())
    assert "eval/sandbox/asr_prefill" in {name for name, _, _ in runs[sweep.trials[0]].metrics}
    table = json.loads((sweep.folder / "trials" / sweep.trials[0] / "tables" / "verdicts.json").read_text())
    assert {"phrases", "sandbox"} < set(table["columns"])


def test_answers_that_are_gone_are_named_and_the_rest_is_judged(sweep):
    shutil.rmtree(sweep.answers[sweep.trials[4]].folder)
    shutil.rmtree(sweep.store.root / "verdicts" / sweep.base.removeprefix("base "))
    outcome = added(sweep)
    assert outcome.exit_code == 1 and len(outcome.made) == 9 and len(outcome.problems) == 2
    assert "its verdicts are no longer in" in outcome.problems[0]
    assert outcome.problems[1].startswith(sweep.trials[4]) and "answers are gone" in outcome.problems[1]
    assert "sandbox/asr_direct" not in figures(sweep)[sweep.trials[4]]


def test_a_stopped_trial_that_was_asked_nothing_is_no_problem(sweep):
    rows = read_summary(sweep.folder / SUMMARY)
    write_summary(sweep.folder / SUMMARY, [*rows, replace(rows[0], trial="x-stopped", status="STOPPED")])
    assert added(sweep).problems == ()


def test_a_judge_that_fails_on_one_trial_is_told_and_goes_on(sweep, monkeypatch):
    class Moody(Sandbox):
        def judge(self, questions):
            if sum("hex" in question.answer for question in questions) > 6:
                raise StageError("the judge is away")
            return super().judge(questions)

    outcome = added(sweep, Moody())
    assert outcome.exit_code == 1 and outcome.made and all("the judge is away" in text for text in outcome.problems)


def test_other_settings_of_an_added_judge_give_way_and_it_is_said(sweep, monkeypatch):
    monkeypatch.setitem(JUDGES, "strict", Strict)
    added(sweep, Strict(least=1))
    assert figures(sweep)[sweep.trials[0]]["strict/asr_direct"] == 1.0
    outcome = added(sweep, Strict(least=10**6))
    assert "other settings before" in outcome.notes[0]
    assert figures(sweep)[sweep.trials[0]]["strict/asr_direct"] == 0.0
    log = [
        entry for entry in Backlog(sweep.folder).entries if entry["do"] == "log" and entry["run"] == f"trial:{sweep.trials[0]}"
    ]
    assert [entry["step"] for entry in log[-2:]] == [30, 31]  # a metric has one value a step


def test_the_judge_of_the_plain_figures_is_not_added_besides(sweep):
    with pytest.raises(ConfigError, match="is the judge of .* already"):
        added(sweep, Phrases())


def test_what_it_said_outlives_a_summary_written_anew(sweep):
    """As going on with a sweep does: rows come from trials and stages, which know nothing of who judged later."""
    before = figures(sweep)
    added(sweep)
    text = (sweep.folder / SUMMARY).read_text()
    rows = {row.trial: replace(row, figures=before[row.trial]) for row in read_summary(sweep.folder / SUMMARY)}
    write_summary(sweep.folder / SUMMARY, list(with_judged(rows, sweep.folder).values()))
    assert (sweep.folder / SUMMARY).read_text() == text
    assert [one.name for one in judged_besides(sweep.folder)] == ["sandbox"]


def test_a_broken_record_of_who_judged_is_named(sweep):
    added(sweep)
    (sweep.folder / "judged" / "sandbox.json").write_text("{")
    with pytest.raises(DataError, match=r"sandbox\.json: can't be read"):
        judged_besides(sweep.folder)


def test_a_judge_is_given_by_name_by_mapping_or_by_file(tmp_path, monkeypatch):
    monkeypatch.setitem(JUDGES, "strict", Strict)
    (tmp_path / "judge.yaml").write_text("name: strict\nleast: 7\n")
    assert find_judge("sandbox") == Sandbox()
    assert find_judge("{name: strict, least: 7}") == find_judge(str(tmp_path / "judge.yaml")) == Strict(least=7)


@pytest.mark.parametrize(
    ("given", "said"), [("nobody", "takes one of .*phrases"), ("[1]", "a judge's name"), ("{name: sandbox, x: 1}", "unknown key")]
)
def test_a_wrong_judge_is_refused_by_what_it_takes(given, said):
    with pytest.raises(ConfigError, match=said):
        find_judge(given)


def test_a_sweep_is_found_by_folder_and_by_name(sweep):
    assert find_sweep(sweep.folder, None) == find_sweep(Path(sweep.folder.name), sweep.folder.parent) == sweep.folder
    with pytest.raises(DataError, match="no sweep of which a trial has ended"):
        find_sweep(sweep.folder / "x", None)
