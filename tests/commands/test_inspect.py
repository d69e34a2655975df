"""`raysafe inspect`: rows with their texts, or a word that they have changed; where trials differ; what seeds agree on."""

import json
import shutil

import pandas as pd
import pytest
import yaml

from raysafe.cli import main


def told(capsys, *arguments):
    assert main(["inspect", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def document(capsys, *arguments):
    return json.loads(told(capsys, *arguments, "--json"))


def selection(finished, place):
    return pd.read_parquet(finished.folder / "trials" / finished.trials[place] / "selection.parquet")


@pytest.fixture
def copy(finished, tmp_path):
    """A sweep of one's own to change, whose data lies beside it."""
    folder = tmp_path / "small"
    shutil.copytree(finished.folder, folder, symlinks=True)
    for path in folder.glob("trials/*/config.yaml"):
        config = yaml.safe_load(path.read_text())
        ((data, mark),) = config["datasets"]["finetune"].items()
        shutil.copy(data, tmp_path / "rows.jsonl")
        config["datasets"]["finetune"] = {str(tmp_path / "rows.jsonl"): mark}
        path.write_text(yaml.safe_dump(config))
    return folder


def test_a_trial_shows_its_best_and_worst_rows_with_texts_scores_and_reasons(finished, capsys):
    (trial,) = document(capsys, finished.folder, "--trial", "000", "--rows", "3")["trials"]
    table = selection(finished, 0).sort_values("rank")
    assert [row["row"] for row in trial["top"] + trial["bottom"]] == [*table["row"][:3], *table["row"][-3:]]
    first, last = trial["top"][0], trial["bottom"][-1]
    assert first["kept"] and first["score"] == table["score"].iloc[0] and first["prompt"] and first["response"]
    assert last["reason"] == table["reason"].iloc[-1] != "" and last["unsafe"] in (True, False)


def test_rows_are_pleasant_to_read_in_80_columns(finished, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    said = told(capsys, finished.folder, "--trial", "000", "--rows", "3")
    assert max(map(len, said.splitlines())) <= 80
    assert "best rows" in said and "worst rows" in said and "left out: " in said and "asked  " in said and "answer " in said


def test_a_sweep_shows_what_its_trials_agree_on_and_the_rows_that_they_dispute(finished, capsys):
    told_of = document(capsys, finished.folder, "--rows", "100")
    kept = sum(selection(finished, place)["selected"].iloc[:32].astype(int) for place in range(4))
    (common,) = told_of["compared"]
    assert (common["all"], common["none"]) == (int((kept == 4).sum()), int((kept == 0).sum()))
    assert {row["row"]: len(row["kept_by"]) for row in common["disputed"]} == {row: n for row, n in kept.items() if 0 < n < 4}
    assert all(row["prompt"] for row in common["disputed"] + common["best"] + common["worst"])


def test_of_many_trials_that_keep_the_same_rows_some_are_named(finished, capsys, monkeypatch):
    monkeypatch.setattr("raysafe.commands.inspect.NAMES", 1)
    monkeypatch.setattr("raysafe.sweep.inspecting.alike", lambda trials: [trials])
    said = told(capsys, finished.folder)
    assert finished.trials[0] in said and finished.trials[1] not in said and "and 3 more" in said


def test_rows_that_every_seed_keeps_are_counted_for_each_setting(finished, capsys):
    first, second = document(capsys, finished.folder)["seeds"]
    assert (first["swept"], second["swept"]["selector.gamma"]) == ({"selector.gamma": 0.05}, 0.5)
    both = selection(finished, 0)["selected"] & selection(finished, 2)["selected"]
    assert first["all"] == both.sum() and len(first["trials"]) == 2


def test_two_trials_show_what_one_keeps_and_the_other_does_not(finished, capsys):
    between = document(capsys, finished.folder, "--trial", "000", "--against", "002", "--rows", "50")["between"]
    one, other = selection(finished, 0)["selected"], selection(finished, 2)["selected"]
    only = between[finished.trials[0]]
    assert only["only"] == (one & ~other).sum() and {row["row"] for row in only["rows"]} == set(one.index[one & ~other])
    assert told(capsys, finished.folder, "--trial", "000", "--against", "002").count("doesn't keep") == 2


def test_planted_rows_have_their_texts_too(finished, capsys):
    (trial,) = document(capsys, finished.folder, "--trial", "000", "--rows", "34")["trials"]
    planted = [row for row in trial["top"] if row["reason"] == "planted"]
    assert len(planted) == 2 and all(row["response"] for row in planted)


def test_text_of_a_row_that_has_changed_is_not_shown(copy, capsys):
    path = copy.parent / "rows.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    first = json.loads(lines[0])
    first["messages"][0]["content"] = "something else"
    path.write_text("".join([json.dumps(first) + "\n", *lines[1:]]))
    told_of = document(capsys, copy, "--trial", "000", "--rows", "34")
    rows = {row["row"]: row for row in told_of["trials"][0]["top"]}
    assert rows[0]["prompt"] is None and rows[1]["prompt"] and "has changed since it was ranked" in told_of["note"]
    assert "its text is no longer there" in told(capsys, copy, "--trial", "000", "--rows", "34")


def test_rows_that_have_only_moved_keep_their_texts(copy, capsys):
    path = copy.parent / "rows.jsonl"
    before = document(capsys, copy, "--trial", "000", "--rows", "32")["trials"][0]["top"]
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    assert document(capsys, copy, "--trial", "000", "--rows", "32")["trials"][0]["top"] == before


def test_data_that_is_gone_is_said_and_the_rest_is_shown(copy, capsys):
    (copy.parent / "rows.jsonl").unlink()
    told_of = document(capsys, copy, "--trial", "000")
    assert "Texts can't be shown" in told_of["note"] and told_of["trials"][0]["top"][0]["prompt"] is None


def test_what_a_trial_ranked_is_found_in_the_sweeps_file_if_its_own_does_not_say_it(copy, capsys):
    for path in copy.glob("trials/*/config.yaml"):
        config = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump({key: value for key, value in config.items() if key != "datasets"}))
    assert document(capsys, copy, "--trial", "000")["trials"][0]["top"][0]["prompt"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--trial", "0"], "several trials begin so"), (["--trial", "x"], "no such trial"), (["--against", "000"], "--trial"),
     (["--rows", "0"], "--rows takes")],
)  # fmt: skip
def test_what_cannot_be_shown_is_refused(finished, capsys, arguments, words):
    assert main(["inspect", str(finished.folder), *arguments]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_a_folder_without_selections_is_refused(tmp_path, capsys):
    assert main(["inspect", str(tmp_path)]) == 2
    assert "no trial of a sweep has left a selection" in " ".join(capsys.readouterr().err.split())
