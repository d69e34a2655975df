from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from raysafe.errors import DataError
from raysafe.report.summary import TrialRow, write_summary
from raysafe.report.table import make_grid, markdown_report, markdown_table, print_report, result_table

from .rows import FAILED, a_row, without


def a_console(width: int) -> Console:
    return Console(file=StringIO(), width=width)


def drawn(rows: Sequence[TrialRow], width: int = 120) -> str:
    console = a_console(width)
    console.print(result_table(rows, width))
    return console.file.getvalue()  # type: ignore[attr-defined]


def report(folder: Path, rows: Sequence[TrialRow]) -> str:
    write_summary(folder / "summary.csv", rows)
    console = a_console(120)
    print_report(folder, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_row_says_what_was_swept_and_what_came_of_it() -> None:
    (line,) = (line for line in drawn([a_row()]).splitlines() if "finished" in line)
    assert line.split("  ")[0] == "0.1"
    for cell in ("80", "0.50 [.40, .60]", "0.75 [.65, .85]", "0.25", "0.05", "0.93", "0.12"):
        assert cell in line


@pytest.mark.parametrize("width", [80, 100, 120])
def test_every_trial_is_one_line_that_fits(width: int) -> None:
    lines = drawn([a_row(0.1), a_row(0.25)], width).splitlines()
    assert max(map(len, lines)) <= width
    assert sum("finished" in line and "0.75 [.65, .85]" in line for line in lines) == 2


def test_two_settings_and_all_scores_fit_a_hundred_columns() -> None:
    assert "No room" not in drawn([a_row()], 100)


def test_columns_without_room_are_named() -> None:
    assert "No room here for new tasks" in drawn([a_row()], 80)


def test_columns_that_no_trial_fills_are_left_out() -> None:
    text = drawn([without(a_row(), "unsafe_selected")])
    assert "unsafe" not in text


def test_numbers_are_ordered_by_size() -> None:
    rows = [a_row(gamma) for gamma in (10.0, 0.5, 2.0)]
    assert make_grid(rows).columns["gamma"] == ("0.5", "2", "10")


def test_a_failed_trial_has_empty_scores() -> None:
    assert make_grid([a_row(), FAILED]).columns["win rate"][1] == "–"


def test_the_best_of_the_finished_is_set_off() -> None:
    rows = [a_row(0.1), a_row(0.2, win_rate=0.6), a_row(0.3, status="STOPPED", win_rate=0.9)]
    assert make_grid(rows).best == {(1, "win rate")}


def test_the_seed_is_shown_where_there_are_several() -> None:
    assert "seed" not in make_grid([a_row()]).columns
    assert make_grid([a_row(seed=0), a_row(seed=1)]).columns["seed"] == ("0", "1")


def test_markdown_has_a_line_for_each_row_and_escapes_bars() -> None:
    head, rule, line = markdown_table([replace(a_row(), swept={"model.path": "a|b"})]).splitlines()
    assert head.startswith("| path | status |")
    assert rule.count("---:") == 8
    assert line.startswith("| a\\|b | finished | 0.50 [.40, .60] |")


def test_a_report_asks_the_question_and_names_the_errors(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text("question: Is a small gamma [safer]?\n")
    text = report(tmp_path, [a_row(), FAILED])
    assert "Is a small gamma [safer]?" in text
    assert "003-failed failed: out of [memory] on GPU 0" in text


def test_a_report_is_written_down_too(tmp_path: Path) -> None:
    report(tmp_path, [a_row(), FAILED])
    text = (tmp_path / "report.md").read_text()
    assert text.startswith(f"# {tmp_path.name}\n\n**One trial finished: there is nothing to compare it with.**")
    assert "\n\n| gamma |" in text
    assert "- `003-failed` failed: out of [memory] on GPU 0" in text


def test_several_seeds_are_shown_as_means_and_written_down_one_by_one(tmp_path: Path) -> None:
    text = report(tmp_path, [a_row(seed=seed) for seed in (0, 1)])
    assert text.count("finished") == 1
    assert "for other prompts and other seeds" in text
    assert (tmp_path / "report.md").read_text().count("finished") == 3


def test_a_sweep_of_which_nothing_has_ended_says_so(tmp_path: Path) -> None:
    assert "No trial has ended yet." in report(tmp_path, [])


def test_a_folder_without_a_summary_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Name a sweep's folder"):
        print_report(tmp_path, a_console(80))


def test_many_settings_share_one_column():
    row = replace(a_row(), swept={f"training.key{n}": n for n in range(5)})
    text = markdown_table([row])
    assert "| settings |" in text and "key0 0, key1 1, key2 2, key3 3, key4 4" in text


def test_skipped_rows_have_a_column_only_where_some_were_skipped() -> None:
    assert "dropped" not in drawn([a_row(), a_row(dropped_rows=0)], 160)
    assert "dropped" in drawn([a_row(dropped_rows=3)], 160)


def test_another_attack_has_a_column_behind_the_usual_ones() -> None:
    names = list(make_grid([a_row(asr_gcg=0.5, asr_gcg_low=0.25)]).columns)
    assert names[names.index("ASR gcg") - 1 :][:3] == ["ASR prefill", "ASR gcg", "over-refusal"]


def test_in_markdown_every_rate_has_its_interval() -> None:
    assert "| 0.93 [.50, 1.00] |" in markdown_table([a_row(utility_low=0.5, utility_high=1.0)])
    assert "0.93 [" not in drawn([a_row(utility_low=0.5, utility_high=1.0)])


def test_a_note_says_when_rows_were_padded():
    notes = [markdown_report("name", "", [a_row(batching=how)]) for how in ("packed", "padded")]
    assert ["Rows were padded" in note for note in notes] == [False, True]


def test_trials_that_were_evaluated_in_different_ways_are_not_set_against_each_other():
    rows = [a_row(evaluation=mark, safety_score=score) for mark, score in (("a", 0.5), ("b", 0.9))]
    page = markdown_report("name", "", rows)
    assert "evaluated in 2 different ways" in page and "**0.90" not in page
    assert "different ways" not in markdown_report("name", "", [a_row(evaluation="a")] * 2)
