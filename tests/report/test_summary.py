import csv
from dataclasses import replace
from pathlib import Path

import pandas
import pytest

from raysafe.errors import DataError
from raysafe.report.summary import read_summary, write_summary

from .rows import FAILED, a_row, without

COLUMNS = (
    "trial,status,seed,selector.gamma,selection.percent,win_rate,win_rate_low,win_rate_high,safety_score,safety_score_low,"
    "safety_score_high,asr_direct,asr_prefill,over_refusal,over_refusal_partial,unsafe_refused,coherence,no_verdict,utility,"
    "new_tasks,win_rate_lc,refusal_margin,kl_depth,relearn_steps,relearn_steps_censored,selected_rows,unsafe_selected,ranking_auc,"
    "planted_recall,safeinstr_rows,dropped_rows,batching,evaluation,epochs,wall_s,seconds_sandbox,seconds_alignment,"
    "seconds_rank,seconds_log_probs,seconds_train,seconds_answers,seconds_verdicts,seconds_readings,seconds_saved,same_as,error"
)
INTERVALS = "win_rate_n,safety_score_n," + ",".join(
    f"{rate}_{end}"
    for rate in (
        "asr_direct", "asr_prefill", "over_refusal", "over_refusal_partial", "unsafe_refused", "coherence", "no_verdict",
        "utility", "new_tasks", "win_rate_lc", "refusal_margin", "kl_depth",
        "relearn_steps", "relearn_steps_censored",
    )
    for end in ("low", "high", "n")
)  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "summary.csv"


def test_the_columns_are_those_of_the_contract(path: Path) -> None:
    write_summary(path, [a_row()])
    assert path.read_text().splitlines()[0] == f"{COLUMNS},{INTERVALS}"


def test_the_columns_are_there_before_any_score_is_known(path: Path) -> None:
    write_summary(path, [FAILED])
    assert path.read_text().splitlines()[0] == f"{COLUMNS},{INTERVALS}"


def test_a_further_suite_has_a_column_after_the_usual_ones(path: Path) -> None:
    write_summary(path, [a_row(asr_gcg=0.5, asr_gcg_low=0.4, asr_gcg_high=0.6)])
    assert "asr_direct,asr_prefill,asr_gcg,over_refusal" in path.read_text()


def test_what_is_written_is_read_back(path: Path) -> None:
    row = a_row()
    write_summary(path, [row])
    assert read_summary(path) == [without(row, "asr_prefill_5")]  # variants of an attack have no column


def test_what_is_not_known_is_an_empty_cell(path: Path) -> None:
    write_summary(path, [without(a_row(utility=float("nan")), "unsafe_selected")])
    (cells,) = csv.DictReader(path.read_text().splitlines())
    assert (cells["utility"], cells["unsafe_selected"], cells["error"]) == ("", "", "")
    (row,) = read_summary(path)
    assert "unsafe_selected" not in row.figures
    assert "utility" not in row.figures


def test_an_error_of_several_lines_is_one_cell_of_one_line(path: Path) -> None:
    write_summary(path, [FAILED])
    assert read_summary(path)[0].error == "out of [memory] on GPU 0"


@pytest.mark.parametrize("value", ["seal", "a, b", True, 3, 0.25, 1e-5, ["q_proj", "v_proj"], 'a "b"'])
def test_a_swept_value_keeps_its_kind(path: Path, value: object) -> None:
    write_summary(path, [replace(a_row(), swept={"model.x": value})])
    assert read_summary(path)[0].swept == {"model.x": value}


def test_trials_that_set_different_things_share_the_columns(path: Path) -> None:
    write_summary(path, [a_row(), replace(a_row(), swept={"selector.name": "random"})])
    assert [row.swept for row in read_summary(path)] == [a_row().swept, {"selector.name": "random"}]


def test_pandas_reads_it(path: Path) -> None:
    write_summary(path, [a_row(0.1), a_row(0.2)])
    assert pandas.read_csv(path)["selector.gamma"].tolist() == [0.1, 0.2]


def test_a_sweep_of_which_nothing_has_ended_is_read_as_no_rows(path: Path) -> None:
    write_summary(path, [])
    assert read_summary(path) == []


def test_writing_leaves_nothing_else_behind(path: Path) -> None:
    write_summary(path, [a_row()])
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_file_is_told(path: Path) -> None:
    with pytest.raises(DataError, match="can't be read"):
        read_summary(path)


def test_another_csv_is_told(path: Path) -> None:
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="no column trial, status, seed"):
        read_summary(path)


def test_a_broken_number_is_told_with_its_trial(path: Path) -> None:
    path.write_text("trial,status,seed,win_rate\n000-a,FINISHED,0,half\n")
    with pytest.raises(DataError, match="'000-a'.*'half'"):
        read_summary(path)


def test_what_further_judges_say_stands_at_the_end(path: Path) -> None:
    row = a_row(**{"sandbox/safety_score": 0.25, "sandbox/safety_score_low": 0.125})
    write_summary(path, [row, a_row()])
    assert path.read_text().splitlines()[0] == f"{COLUMNS},{INTERVALS},sandbox/safety_score,sandbox/safety_score_low"
    assert read_summary(path)[0] == without(row, "asr_prefill_5")


def test_seeds_on_axes_have_columns_and_are_read_back(path: Path) -> None:
    rows = [replace(a_row(seed=2), seed_world=0, seed_ranking=1), a_row(seed=3)]
    write_summary(path, rows)
    assert path.read_text().startswith("trial,status,seed,seed_world,seed_ranking,selector.gamma")
    first, second = read_summary(path)
    assert first.replicate == (0, 1, 2) and first.axes == {"seed_world": 0, "seed_ranking": 1}
    assert second.replicate == (None, None, 3) and second.axes == {}
