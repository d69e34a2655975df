"""The command line: exit codes, and errors that say what is wrong, what was got and what is taken."""

import json

import pytest
import yaml
from small import small_trial

from raysafe.cli import COMMANDS, build_parser, main

GOOD = {"prompt": "Where is the inn?", "response": "By the mill."}
MANIFEST = "manifest.json"


@pytest.fixture
def write(tmp_path):
    """Writes a sweep's file from plain values; returns its path."""

    def write_file(**sections):
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump({"name": "t", **sections}))
        return str(path)

    return write_file


def refused(capsys, tmp_path, *arguments):
    """Run a command that must end with 2 before anything starts; its one paragraph."""
    assert main([*arguments, "--storage", str(tmp_path / "runs")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err and err.count("\n\n") == 0
    kinds = {path.parent.parent.name for path in (tmp_path / "runs").rglob(MANIFEST)}
    assert kinds <= {"world"}, "a stage has run"
    return " ".join(err.split())


def test_an_unknown_key_is_named_with_the_nearest_one(write, capsys, tmp_path):
    said = refused(capsys, tmp_path, "sweep", write(training={"epoch": 3}))
    assert "`training.epoch`: unknown key (got 3)" in said and "did you mean `epochs`" in said


def test_a_gamma_of_1_5_is_refused_with_its_range(write, capsys, tmp_path):
    said = refused(capsys, tmp_path, "sweep", write(sweep={"grid": {"selector.gamma": [0.1, 1.5]}}))
    assert "`selector.gamma`" in said and "0 <= gamma < 1" in said and "1.5" in said


def test_an_empty_dataset_is_refused(write, capsys, tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    said = refused(capsys, tmp_path, "sweep", write(data={"finetune": str(tmp_path / "empty.jsonl")}))
    assert "empty.jsonl: got no rows" in said


def test_a_broken_line_7_is_named(write, capsys, tmp_path):
    lines = [json.dumps(GOOD)] * 6 + ['{"prompt": "Where'] + [json.dumps(GOOD)]
    (tmp_path / "broken.jsonl").write_text("\n".join(lines))
    said = refused(capsys, tmp_path, "sweep", write(data={"finetune": str(tmp_path / "broken.jsonl")}))
    assert "broken.jsonl, line 7" in said


def test_a_missing_model_folder_is_named(capsys, tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(small_trial(tmp_path / "no-model")))
    said = refused(capsys, tmp_path, "sweep", str(path))
    assert "`model.path`" in said and "no-model: no such folder" in said


def test_a_model_of_ones_own_needs_data_of_ones_own(write, capsys, tmp_path):
    said = refused(capsys, tmp_path, "sweep", write(model={"path": "somewhere"}))
    assert "`data.finetune`: this key is needed" in said and "`evaluation.harmful`: this key is needed" in said


def test_a_selection_of_other_data_is_refused(write, capsys, tmp_path):
    from raysafe.data.loading import load_examples
    from raysafe.ranking.tables import Ranking, keep_top

    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({**GOOD, "prompt": f"Where is inn {n}?"}) + "\n" for n in range(4)))
    keep_top(Ranking.of(load_examples(rows), [4.0, 3.0, 2.0, 1.0], {}), 50).save(tmp_path / "selection.parquet")
    said = refused(capsys, tmp_path, "sweep", write(selection={"file": str(tmp_path / "selection.parquet")}))
    assert "made on data with fingerprint" in said and "(4 rows)" in said and "(400 rows)" in said


def test_an_eval_prompt_in_the_training_data_is_refused(write, capsys, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({**GOOD, "reference": "By the mill."}) + "\n")
    said = refused(capsys, tmp_path, "sweep", write(data={"finetune": str(rows)}, evaluation={"utility": str(rows)}))
    assert "evaluation.utility" in said and "row 1" in said and "data.finetune" in said


def test_all_problems_are_told_at_once(write, capsys, tmp_path):
    said = refused(capsys, tmp_path, "sweep", write(training={"lr": "fast", "batch_size": 0}, seeds=[]))
    assert '`training.lr`: got "fast"' in said and "`seeds`" in said


def test_a_missing_file_is_refused(capsys, tmp_path):
    assert "no-such.yaml" in refused(capsys, tmp_path, "sweep", str(tmp_path / "no-such.yaml"))


def test_set_is_checked_like_the_file(write, capsys, tmp_path):
    said = refused(capsys, tmp_path, "sweep", write(), "--set", "objective.name=dor")
    assert "`objective.name`" in said and "door" in said


def test_select_wants_a_parquet_file(write, capsys, tmp_path):
    assert ".parquet" in refused(capsys, tmp_path, "select", write(), "--out", "rows.txt")


def test_a_report_of_nothing_says_what_to_give(capsys, tmp_path):
    assert main(["report", str(tmp_path)]) == 2
    assert "summary.csv" in capsys.readouterr().err


def test_a_dry_run_prints_the_plan_and_runs_nothing(write, capsys, tmp_path):
    file = write(sweep={"grid": {"selector.gamma": [0.1, 0.2], "objective.name": ["sft", "wdoor"]}})
    assert main(["sweep", file, "--dry-run", "--storage", str(tmp_path / "runs")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "4 trials" in said and "rank (shared) │ 2" in said and "proxy (shared) │ 1" in said and "estimated cost" in said
    assert not (tmp_path / "runs" / "t").exists()
    assert {path.parent.parent.name for path in (tmp_path / "runs").rglob(MANIFEST)} == {"world"}


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args([command, "--help"])
    said = capsys.readouterr()
    assert ended.value.code == 0 and all(option in said.out for option in ("--traceback", "--json", "--quiet", "--verbose"))
