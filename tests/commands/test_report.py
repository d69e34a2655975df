"""`raysafe report`, from the command line to its last word."""

import json
import webbrowser

import pytest
from report.folders import a_sweep, combinations

from raysafe.cli import main


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
