"""`raysafe data check`: what it counts, what it refuses, and that it runs nothing."""

import json

import pytest

from raysafe.cli import main

NINE = "which red card is hidden inside the old box"
CONFIG = "name: x\nmodel: {path: MODEL}\nobjective: sft\nselector: random\ndata: {finetune: d.jsonl, max_length: 64}\n"
CONFIG += "evaluation: {harmful: e.jsonl, max_new_tokens: 4}\n"


def lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def folder(tmp_path, monkeypatch, model_folder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text(CONFIG.replace("MODEL", str(model_folder)))
    lines(tmp_path / "e.jsonl", {"prompt": NINE, "harmful": "sure"}, {"prompt": "another trick"})
    lines(tmp_path / "d.jsonl", {"prompt": "a", "response": f"He asked {NINE}."}, {"prompt": "b", "response": "c"})
    return tmp_path


def test_it_counts_rows_and_shared_pieces(folder, capsys):
    assert main(["data", "check", "x.yaml", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(one["role"], one["rows"]) for one in told["datasets"]] == [("finetune", 2), ("harmful", 2)]
    (line,) = told["overlap"]
    assert (line["role"], line["data"], line["prompts"], line["found"], line["whole"]) == ("harmful", "finetune", 2, 1, 1)
    assert sorted(path.name for path in folder.iterdir()) == ["d.jsonl", "e.jsonl", "x.yaml"]


def test_people_get_a_table_of_eighty_columns(folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["data", "check", "x.yaml"]) == 0
    out = capsys.readouterr().out
    assert "harmful" in out and "1.00" in out and max(map(len, out.splitlines())) <= 100


def test_every_bad_row_is_named_with_its_line(folder, capsys):
    lines(folder / "d.jsonl", {"prompt": "a"}, {"prompt": "b", "response": "c"}, {"prompt": 3, "response": "c"})
    assert main(["data", "check", "x.yaml", "--json"]) == 2
    bad = json.loads(capsys.readouterr().out)["bad_rows"]
    assert len(bad) == 2 and all("d.jsonl" in text for text in bad) and "1" in bad[0] and "3" in bad[1]


def test_a_prompt_that_is_trained_on_is_refused_whatever_its_case(folder, capsys):
    lines(folder / "d.jsonl", {"prompt": f"{NINE.upper()}?", "response": "c"})
    assert main(["data", "check", "x.yaml"]) == 2
    assert "but for case, punctuation or white space" in " ".join(capsys.readouterr().err.split())
