"""What is told of a ranking, and rows that were planted in it."""

import dataclasses

import pytest
import tiny
import torch

from raysafe.artifacts import write_json
from raysafe.config.sections import DataSettings
from raysafe.errors import DataError
from raysafe.ranking.diagnosis import MOST_GROUPS, REST, Diagnosis, RankingTensors, diagnose, groups_of
from raysafe.ranking.tables import PLANTED, Ranking, Selection, keep_top

OWN = [tiny.example(i, response=f"answer {i}", unsafe=i in (1, 3)) for i in range(5)]
BAD = [dataclasses.replace(tiny.example(i, response=f"bad {i}", unsafe=True), planted=True) for i in (5, 6)]
SCORES = [0.1, 0.9, 0.5, 0.7, 0.3]


def ranking(planted=(0.8, 0.0), reasons=None, own=OWN):
    return Ranking.of([*own, *BAD[: len(planted)]], [*SCORES, *planted], reasons or {})


def test_planted_rows_are_never_kept_and_p_counts_ds_own_rows():
    """60 % of 5 rows are 3, as without the two planted ones, the first of which ranks second."""
    selection = keep_top(ranking(), 60)
    assert selection.rows == keep_top(ranking(()), 60).rows == (1, 2, 3)
    assert selection.table["reason"].tolist()[5:] == [PLANTED, PLANTED] and selection.table["rank"].tolist()[5:] == [1, 6]
    assert selection.total == 5 and selection.unsafe_share == pytest.approx(2 / 3)


def test_all_rows_kept_are_all_of_ds_own():
    assert keep_top(ranking(), 100).rows == (0, 1, 2, 3, 4)


def test_a_selection_beside_planted_rows_fits_the_data_without_them(tmp_path):
    keep_top(ranking(), 40).save(tmp_path / "selection.parquet")
    again = Selection.load(tmp_path / "selection.parquet")
    assert again.apply(OWN) == [OWN[1], OWN[3]] and ranking().fingerprint == ranking(()).fingerprint
    with pytest.raises(DataError, match=r"\(5 rows\)"):
        again.apply([*OWN, *BAD])


def test_planted_rows_survive_a_selections_file(tmp_path):
    whole = ranking(reasons={6: "too long"})
    keep_top(whole, 40).save(tmp_path / "selection.parquet")
    assert Ranking.load(tmp_path / "selection.parquet") == whole


def test_a_file_from_before_there_were_planted_rows_has_none(tmp_path):
    selection = keep_top(ranking(()), 40)
    dataclasses.replace(selection, table=selection.table.drop(columns="planted")).save(tmp_path / "old.parquet")
    assert Ranking.load(tmp_path / "old.parquet") == ranking(()) and Selection.load(tmp_path / "old.parquet").total == 5


def test_the_figures_of_d_are_those_without_planted_rows():
    with_them, without = diagnose(ranking()), diagnose(ranking(()))
    for name in ("fingerprint", "rows", "dropped", "unsafe_rows", "auc", "unsafe_share"):
        assert getattr(with_them, name) == getattr(without, name), name
    assert without.planted_recall == {} and without.planted == 0


def test_a_ranking_is_diagnosed_by_hand():
    """Safe .1 .5 .3, unsafe .9 .7: no pair in order. Kept at 40 %: rows 1 and 3; at 80 %: row 0 is out.

    Of 7 rows the top 40 % are 3 (.9 .8 .7), with one planted row; the top 90 % are all 7.
    """
    told = diagnose(ranking())
    assert (told.rows, told.unsafe_rows, told.auc, told.planted) == (5, 2, 0.0, 2)
    assert told.unsafe_share["40"] == 1.0 and told.unsafe_share["80"] == 0.5
    assert told.planted_recall["10"] == 1.0 and told.planted_recall["40"] == 0.5 and told.planted_recall["90"] == 0.0


@pytest.mark.parametrize("percent", [10, 40, 80, 100])
def test_the_unsafe_share_is_the_selections(percent):
    whole = ranking(reasons={3: "too long"})
    assert RankingTensors.of(whole).unsafe_share(percent) == keep_top(whole, percent).unsafe_share


def test_without_labels_nothing_is_told_of_safety():
    rows = [tiny.example(i, response=f"answer {i}") for i in range(5)]
    told = diagnose(ranking(own=rows))
    assert told.auc is None and told.unsafe_share == {} and told.unsafe_rows is None
    assert set(told.scores["label"]) == {"unlabelled", "planted"} and told.planted_recall["40"] == 0.5


def test_dropped_rows_are_counted_by_reason_and_have_no_score():
    reasons = {0: "fill 530 of 512", 2: "fill 540 of 512", 4: "empty", 6: "fill 600 of 512"}
    told = diagnose(ranking(reasons=reasons))
    assert told.dropped == {"fill N of N": 2, "empty": 1} and told.planted_dropped == 1
    assert told.scores["label"]["safe"] is None and told.scores["label"]["unsafe"].count == 2


def test_scores_are_told_by_source_and_kind():
    rows = [dataclasses.replace(row, origin="chat" if place else None, kind="new") for place, row in enumerate(OWN)]
    told = diagnose(ranking(own=rows), groups_of([*rows, *BAD]))
    assert {name: one.count for name, one in told.scores["source"].items()} == {"rows.jsonl: chat": 4, "rows.jsonl": 3}
    assert {name: one.count for name, one in told.scores["kind"].items()} == {"new": 5, "planted": 2}


def test_many_sources_are_told_together():
    rows = [dataclasses.replace(tiny.example(i), origin=f"site {i}") for i in range(30)]
    told = diagnose(Ranking.of(rows, list(range(30)), {}), groups_of(rows)).scores["source"]
    assert len(told) == MOST_GROUPS and told[REST].count == 30 - MOST_GROUPS + 1


def test_a_diagnosis_survives_its_file_and_has_no_nan(tmp_path):
    told = diagnose(ranking((), own=OWN), groups_of(OWN))
    write_json(tmp_path / "diagnostics.json", told)
    assert Diagnosis.load(tmp_path / "diagnostics.json") == told
    assert "NaN" not in (tmp_path / "diagnostics.json").read_text()


def test_a_tracker_is_told_what_is_known():
    told = diagnose(ranking()).metrics()
    assert told["selector/auc"] == 0.0 and told["selector/unsafe_share_40"] == 1.0 and told["selector/planted_recall_40"] == 0.5
    assert not any(torch.tensor(value).isnan() for value in told.values())


def test_a_negative_number_of_planted_rows_is_refused():
    with pytest.raises(ValueError, match="plant >= 0"):
        DataSettings("rows.jsonl", plant=-1)
