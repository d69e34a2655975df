"""`raysafe judge`, from the command line to its last word."""

import json

import pytest
from judged import JudgedSweep

from raysafe.cli import main
from raysafe.commands import judge
from raysafe.sweep.lock import held
from raysafe.sweep.syncing import Synced


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Judged by the tests of this file one after the other."""
    return JudgedSweep(tmp_path_factory.mktemp("judge"))


@pytest.fixture(autouse=True)
def pages(monkeypatch):
    """The sweeps whose page is written: it takes seconds, and what stands on it is another test's."""
    written = []
    monkeypatch.setattr(judge, "rebuilt", lambda folder, console: (written.append(folder) or folder / "report.html", None))
    return written


def test_a_running_sweep_is_refused(sweep, capsys):
    with held(sweep.folder):
        assert main(["judge", str(sweep.folder), "--with", "sandbox"]) == 2
    assert "is running" in " ".join(capsys.readouterr().err.split())


def test_a_wrong_judge_is_refused_before_anything_is_read(sweep, capsys):
    assert main(["judge", str(sweep.folder), "--with", "nobody"]) == 2
    assert "--with" in capsys.readouterr().err and not (sweep.folder / "judged").exists()


def test_a_judge_is_added_agreement_told_and_the_page_written_anew(sweep, capsys, pages):
    assert main(["judge", sweep.folder.name, "--storage", str(sweep.folder.parent), "--with", "sandbox"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "11 judged by sandbox" in said and "borderline" in said and "κ" in said
    assert "has not been told" in said and pages == [sweep.folder]


def test_json_says_what_was_done_and_a_store_that_is_named_is_told(sweep, capsys, monkeypatch):
    """Telling itself is what `raysafe report --sync` does, and another test's."""
    told = []
    monkeypatch.setattr("raysafe.sweep.syncing.sync_held", lambda folder, uri: told.append(uri) or Synced(uri, 7, 0, ()))
    uri = f"sqlite:///{sweep.folder}/other.db"
    assert main(["judge", str(sweep.folder), "--with", "{name: sandbox}", "--tracking-uri", uri, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["judge"]["name"] == "sandbox" and document["made"] == [] and len(document["reused"]) == 11
    assert document["synced"] == {"store": uri, "told": 7, "missing": 0} and told == [uri]
    assert document["agreement"][0]["scope"] == "all trials" and document["agreement"][0]["of"]["kappa"] == 1.0
    assert all("sandbox/safety_score" in row["figures"] for row in document["trials"])


def test_answers_that_are_gone_end_with_a_code_of_their_own(sweep, capsys, tmp_path):
    torn = sweep.copied(tmp_path / "torn")
    (torn.answers[sweep.trials[0]].folder / "manifest.json").unlink()
    assert main(["judge", str(torn.folder), "--with", "sandbox", "-q"]) == 1
    assert "10 judged by sandbox, 10 of them before; 1 could not be judged" in " ".join(capsys.readouterr().out.split())
