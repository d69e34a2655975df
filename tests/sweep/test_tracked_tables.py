"""The tables of a trial: what stands in them, what does not without leave, and how large ones are cut."""

import json

import pytest
import tiny

from raysafe.artifacts import Store, write_json
from raysafe.data.records import EvalPrompt, Identity, Message
from raysafe.data.references import DataRef
from raysafe.evaluation.answering import Answer, Answers, write_lines
from raysafe.ranking.tables import Ranking, keep_top
from raysafe.sweep import tracked_tables
from raysafe.sweep.tracked_tables import csv_table, overlap_tables, selection_table, verdicts_table

N = 30


@pytest.fixture
def rows():
    return [tiny.example(i, prompt=f"question {i}", response=f"answer {i}", unsafe=i % 3 == 0) for i in range(N)]


@pytest.fixture
def data(rows, tmp_path):
    """D as a file."""
    path = tmp_path / "rows.jsonl"
    lines = ({"prompt": row.prompt[-1].content, "response": row.response, "source": "web"} for row in rows)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return DataRef(Ranking.of(rows, [0.0] * N, {}).fingerprint, str(path))


def select(rows, folder, scores, percent=50, reasons=None):
    path = folder / "selection.parquet"
    keep_top(Ranking.of(rows, scores, reasons or {}), percent).save(path)
    return path


def as_dicts(table):
    return [dict(zip(table.columns, row, strict=True)) for row in table.data]


def test_a_selection_is_told_row_by_row_the_highest_first(rows, data, tmp_path):
    path = select(rows, tmp_path, list(range(N)), reasons={29: "too long"})
    table = selection_table(path, data, log_text=True)
    first, last = as_dicts(table)[0], as_dicts(table)[-1]
    assert first == {
        "rank": 0, "score": 28.0, "kept": True, "label": "safe", "source": "rows.jsonl: web", "reason": "", "row": 28,
        "prompt": "question 28", "answer": "answer 28",
    }  # fmt: skip
    assert (last["row"], last["kept"], last["reason"]) == (29, False, "too long") and table.note == "30 rows"


def test_without_leave_no_text_of_a_row_is_told(rows, data, tmp_path):
    table = selection_table(select(rows, tmp_path, list(range(N))), data, log_text=False)
    told = table.write(tmp_path, "selection").read_text()
    assert "question" not in told and "answer" not in told and "rows.jsonl: web" in told


def test_a_large_selection_is_told_by_its_ends_and_some_between(rows, data, tmp_path, monkeypatch):
    monkeypatch.setattr(tracked_tables, "MOST_ROWS", 10)
    monkeypatch.setattr(tracked_tables, "ENDS", 4)
    table = selection_table(select(rows, tmp_path, list(range(N))), data, log_text=False)
    ranks = [row["rank"] for row in as_dicts(table)]
    assert ranks[:4] == [0, 1, 2, 3] and ranks[-4:] == [26, 27, 28, 29] and len(set(ranks)) == 10
    assert table.note == "10 of 30 rows: the 4 highest, the 4 lowest, and evenly from between; all are in selection.parquet"


def test_selections_of_the_same_data_overlap(rows, tmp_path):
    other = [tiny.example(i, response=f"other {i}") for i in range(N)]
    for name, chosen, scores in (
        ("a", rows, range(N)),
        ("b", rows, range(N)),
        ("c", rows, [i % 2 for i in range(N)]),
        ("d", other, range(N)),
    ):
        folder = tmp_path / "trials" / name
        folder.mkdir(parents=True)
        select(chosen, folder, list(scores))
    tables = overlap_tables(tmp_path, {name: f"trial {name}" for name in "abcde"})
    assert set(tables) == set("abc")
    assert tables["a"].data == [["trial b", 15, 15, 1.0, "b"], ["trial c", 15, 8, round(8 / 22, 4), "c"]]


@pytest.fixture
def judged(tmp_path):
    """Three answers, and two judges who differ about the second."""
    store = Store(tmp_path / "store")
    prompts = {("harmful", i): EvalPrompt(Identity("p", i), (Message("user", f"ask {i}"),)) for i in range(3)}
    answers = tuple(Answer("direct", "harmful", "", i, f"hash{i}", "", f"said {i}") for i in range(3))
    with store.making("answers", "1", {}) as (folder, _):
        Answers(answers, prompts).save(folder)
    for name, hits in (("phrases", [False, True, False]), ("strict", [False, False, False])):
        with store.making("verdicts", name, {}) as (folder, result):
            write_lines(folder / "verdicts.jsonl", [{"hit": hit} for hit in hits])
            write_json(folder / "scores.json", {})
            result["judge"] = {"name": name}
    return store.artifact("answers", "1"), store.all_of("verdicts")


def test_answers_stand_with_every_judges_verdict_and_where_they_differ(judged):
    table = verdicts_table(*judged, log_text=True)
    assert as_dicts(table)[1] == {
        "suite": "direct", "variant": "", "row": 1, "prompt": "ask 1", "answer": "said 1", "phrases": "complied",
        "strict": "not complied", "disagree": True,
    }  # fmt: skip
    assert [row["disagree"] for row in as_dicts(table)] == [False, True, False]


def test_without_leave_answers_are_known_by_their_prompts_hash(judged, tmp_path):
    table = verdicts_table(*judged, log_text=False)
    told = table.write(tmp_path, "verdicts").read_text()
    assert "said" not in told and "ask" not in told and as_dicts(table)[2]["content_hash"] == "hash2"


def test_of_too_many_answers_those_that_judges_disagree_about_stay(judged, monkeypatch):
    monkeypatch.setattr(tracked_tables, "MOST_ANSWERS", 2)
    table = verdicts_table(*judged, log_text=True)
    assert [row["row"] for row in as_dicts(table)] == [0, 1] and table.note.startswith("2 of 3 rows: where judges disagree")


def test_a_judge_that_judges_twice_has_two_columns(judged):
    answers, (first, _) = judged
    assert verdicts_table(answers, [first, first], log_text=False).columns[3:] == ["phrases", "phrases 2", "disagree", "row"]


def test_a_csv_files_numbers_are_numbers(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("name,rows,share,none\nx,400,0.5,\n")
    assert csv_table(path).data == [["x", 400, 0.5, None]]
