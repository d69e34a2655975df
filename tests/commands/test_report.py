"""`raysafe report`, from the command line to its last word."""

import json
import webbrowser

import pytest
from report.folders import a_sweep, combinations

from raysafe.cli import main
from raysafe.tracking.backlog import Backlog
from raysafe.tracking.base import RunSpec


@pytest.fixture
def folder(tmp_path):
    a_sweep(tmp_path / "s", combinations(percents=(80,), seeds=(0,)), only_summary=True)
    return tmp_path / "s"


def test_the_answer_stands_above_the_table_and_the_page_is_named(folder, capsys):
    assert main(["report", str(folder)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.index("Changing objective from sft to wdoor") < said.index("finished")
    assert f"report {folder / 'report.html'}" in said


def test_open_shows_the_page(folder, monkeypatch):
    shown = []
    monkeypatch.setattr(webbrowser, "open", shown.append)
    assert main(["report", str(folder), "--open", "-q"]) == 0
    assert shown == [(folder / "report.html").as_uri()]


def test_json_has_rows_and_answer(folder, capsys):
    assert main(["report", str(folder), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["trials"]) == 4 and document["answer"][0].startswith("Changing objective")
    assert str(folder / "report.html") in document["files"]


@pytest.fixture
def recorded(folder):
    """The sweep with a short record."""
    backlog = Backlog(folder)
    run = backlog.start(RunSpec("sweep", "s", "s"))
    backlog.log(run, 1, {"eval/win_rate": 0.5})
    backlog.end(run, "FINISHED")
    return folder


def test_sync_tells_a_store_what_it_has_missed_and_that_once(recorded, capsys):
    uri = f"sqlite:///{recorded}/other.db"
    assert main(["report", str(recorded), "--sync", "--tracking-uri", uri, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["synced"] == {"store": uri, "told": 3, "missing": 0, "refused": []}
    assert main(["report", str(recorded), "--sync", "--tracking-uri", uri]) == 0
    assert "has had the whole record already" in " ".join(capsys.readouterr().out.split())


def test_a_store_without_sync_is_refused(folder, capsys):
    assert main(["report", str(folder), "--tracking-uri", "sqlite:///x.db"]) == 2
    assert "Add --sync" in " ".join(capsys.readouterr().err.split())


def test_sync_of_a_sweep_without_a_record_says_so(folder, capsys):
    assert main(["report", str(folder), "--sync"]) == 2
    assert "has no tracking.jsonl" in " ".join(capsys.readouterr().err.split())
