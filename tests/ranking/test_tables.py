"""Rankings and selections as files."""

import pandas as pd
import pytest
import tiny

from raysafe.errors import DataError
from raysafe.ranking.tables import COLUMNS, Ranking, Selection, keep_top

ROWS = [tiny.example(i, response=f"answer {i}", unsafe=bool(i % 2)) for i in range(5)]
SCORES = [0.1, 0.9, 0.5, 0.7, 0.3]


def ranking(reasons=None, rows=ROWS, scores=SCORES):
    return Ranking.of(rows, scores, reasons or {})


def test_a_ranking_survives_a_round_trip_bit_for_bit(tmp_path):
    rows = [*ROWS[:4], tiny.example(4, response="no label")]
    whole = ranking({2: "too long"}, rows, [1 / 3, -1e-300, 0.5, 7e22, 0.1 + 0.2])
    whole.save(tmp_path / "sub" / "ranking.parquet")
    assert Ranking.load(tmp_path / "sub" / "ranking.parquet") == whole
    assert whole.unsafe == (False, True, False, True, None) and whole.reasons[2] == "too long"


def test_a_selection_keeps_the_top_rows_in_the_datas_order():
    selection = keep_top(ranking(), 60)
    assert selection.rows == (1, 2, 3)
    assert [row.response for row in selection.apply(ROWS)] == ["answer 1", "answer 2", "answer 3"]


def test_a_selections_table_tells_the_fate_of_every_row():
    table = keep_top(ranking({1: "too long"}), 40).table
    assert list(table.columns) == ["row", "content_hash", "score", "rank", "selected", "reason", "unsafe", "planted"]
    assert table["row"].tolist() == [0, 1, 2, 3, 4] and table["score"].tolist() == SCORES
    assert table["content_hash"].tolist() == [row.content_hash for row in ROWS]
    assert table["rank"].tolist() == [3, 4, 1, 0, 2] and table["selected"].tolist() == [False, False, True, True, False]
    assert table["reason"].tolist() == ["below the top 40 %", "too long", "", "", "below the top 40 %"]


def test_a_selection_survives_a_round_trip(tmp_path):
    selection = keep_top(ranking({1: "too long"}), 40)
    selection.save(tmp_path / "selection.parquet")
    again = Selection.load(tmp_path / "selection.parquet")
    assert (again.fingerprint, again.rows) == (selection.fingerprint, selection.rows)
    pd.testing.assert_frame_equal(again.table, selection.table, check_dtype=False)
    assert again.apply(ROWS) == selection.apply(ROWS)


def test_a_selection_can_be_ranked_again_with_another_share(tmp_path):
    """What was merely below the top gets its chance again; what can't be used does not."""
    keep_top(ranking({3: "too long"}), 20).save(tmp_path / "selection.parquet")
    again = Ranking.load(tmp_path / "selection.parquet")
    assert again == ranking({3: "too long"}) and keep_top(again, 60).rows == (1, 2, 4)


@pytest.mark.parametrize("other", [ROWS[:4], ROWS[::-1], [*ROWS[:4], tiny.example(4, response="changed")]])
def test_a_selection_refuses_other_data(other):
    with pytest.raises(DataError, match="fingerprint .*rank and select on this data instead"):
        keep_top(ranking(), 60).apply(other)


def test_labels_of_the_data_do_not_make_it_other_data():
    unlabelled = [tiny.example(i, response=f"answer {i}") for i in range(5)]
    assert len(keep_top(ranking(), 60).apply(unlabelled)) == 3


def test_the_unsafe_share_is_that_of_the_kept_rows():
    assert keep_top(ranking(), 40).unsafe_share == 1.0 and keep_top(ranking(), 60).unsafe_share == pytest.approx(2 / 3)


def test_the_unsafe_share_is_unknown_without_labels():
    rows = [tiny.example(i, response=f"answer {i}") for i in range(5)]
    assert keep_top(ranking(rows=rows), 60).unsafe_share is None


def test_a_file_that_is_no_selection_is_refused(tmp_path):
    pd.DataFrame({"row": [0]}).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({name: [0] for name in COLUMNS}).to_parquet(tmp_path / "b.parquet")
    (tmp_path / "c.parquet").write_text("no parquet")
    for name, reason in (("a", "lacks content_hash"), ("b", "data fingerprint"), ("c", "parquet"), ("none", "can't be read")):
        with pytest.raises(DataError, match=reason):
            Selection.load(tmp_path / f"{name}.parquet")


def test_a_row_that_was_dropped_is_never_kept_even_at_100_percent():
    assert keep_top(ranking({3: "too long"}), 100).rows == (0, 1, 2, 4)
