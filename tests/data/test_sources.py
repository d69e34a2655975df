"""Files in, records out; every error names the file and the line."""

import json

import pandas as pd
import pytest
from datasets import Dataset, DatasetDict

from raysafe.data.loading import load_eval_prompts, load_examples, load_triples
from raysafe.data.sources import read_records
from raysafe.errors import DataError

ROWS = [{"prompt": f"question {i}", "response": f'answer {i}, with "quotes"\nand größe 🙂'} for i in range(3)]


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def records(path):
    return [record for _, record in read_records(path)]


def fails(path, *parts, load=load_examples):
    with pytest.raises(DataError) as caught:
        load(path)
    message = str(caught.value)
    assert str(path) in message and all(part in message for part in parts), message


def test_jsonl_gives_rows_and_line_numbers_and_skips_empty_lines(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n\n" + json.dumps(ROWS[1]), encoding="utf-8")
    assert list(read_records(path)) == [(f"{path}, line 1", ROWS[0]), (f"{path}, line 3", ROWS[1])]


def test_every_format_gives_the_same_records(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(ROWS), encoding="utf-8")
    pd.DataFrame(ROWS).to_csv(tmp_path / "a.csv", index=False)
    pd.DataFrame(ROWS).to_parquet(tmp_path / "a.parquet")
    Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "saved"), num_proc=None)
    lines(tmp_path / "a.jsonl", ROWS)
    for name in ("a.json", "a.csv", "a.parquet", "saved", "a.jsonl"):
        assert records(tmp_path / name) == ROWS, name


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv"])
def test_a_byte_order_mark_is_no_part_of_the_data(tmp_path, name):
    text = {"a.jsonl": '{"a": "b"}\n', "a.json": '[{"a": "b"}]', "a.csv": "a\nb\n"}[name]
    (tmp_path / name).write_text("\ufeff" + text, encoding="utf-8")
    assert records(tmp_path / name) == [{"a": "b"}]


def test_a_csv_field_may_span_lines(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('prompt,response\n"two\nlines","b, c"\n', encoding="utf-8")
    assert records(path) == [{"prompt": "two\nlines", "response": "b, c"}]


def test_a_broken_line_is_named(tmp_path):
    path = lines(tmp_path / "rows.jsonl", ROWS * 2)
    path.write_text(path.read_text() + '{"prompt": "x", \n')
    fails(path, "line 7", "not readable as JSON", "column")


def test_a_line_that_is_no_object_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a", "response": "b"}\n[1, 2]\n')
    fails(path, "line 2", "list", "a row is an object")


def test_a_value_of_the_wrong_type_is_named(tmp_path):
    fails(lines(tmp_path / "a.jsonl", [*ROWS, {"prompt": "a", "response": 7}]), "line 4", "`response` takes a text", "7")


def test_a_label_of_the_wrong_type_is_named(tmp_path):
    fails(lines(tmp_path / "a.jsonl", [ROWS[0] | {"unsafe": "yes"}]), "line 1", "`unsafe` takes true or false", "'yes'")


def test_a_row_of_no_known_layout_tells_its_keys_and_the_known_ones(tmp_path):
    fails(lines(tmp_path / "a.jsonl", [{"question": "a", "reply": "b"}]), "line 1", "question, reply", "prompt and response")


@pytest.mark.parametrize("load", [load_examples, load_triples, load_eval_prompts])
def test_an_empty_file_is_refused(tmp_path, load):
    fails(lines(tmp_path / "a.jsonl", []), "no rows", load=load)


def test_a_missing_file_is_refused_with_what_data_may_be(tmp_path):
    fails(tmp_path / "none.jsonl", "no such file", ".parquet")


@pytest.mark.parametrize("name", ["rows.txt", "rows"])
def test_a_wrong_extension_is_refused_with_the_right_ones(tmp_path, name):
    (tmp_path / name).write_text("x")
    fails(tmp_path / name, ".jsonl, .json, .csv, .parquet")


def test_bytes_that_are_no_utf8_are_refused(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"prompt": "\xff\xfe"}')
    fails(tmp_path / "a.jsonl", "can't be read", "utf-8")


def test_a_csv_line_with_too_many_or_too_few_fields_is_named(tmp_path):
    path = tmp_path / "a.csv"
    for bad in ("a", "a,b,c"):
        path.write_text(f"prompt,response\nx,y\n{bad}\n")
        fails(path, "line 3", "differs from the header's 2")


def test_broken_json_parquet_and_folders_are_refused(tmp_path):
    (tmp_path / "a.json").write_text('[{"prompt": "x"},\n{]')
    (tmp_path / "b.json").write_text('{"prompt": "x"}')
    (tmp_path / "a.parquet").write_bytes(b"no parquet")
    (tmp_path / "empty").mkdir()
    fails(tmp_path / "a.json", "line 2")
    fails(tmp_path / "b.json", "it takes a list of objects")
    fails(tmp_path / "a.parquet", "parquet")
    fails(tmp_path / "empty", "Dataset.save_to_disk")


def test_a_folder_of_several_splits_is_refused(tmp_path):
    DatasetDict({"train": Dataset.from_list(ROWS)}).save_to_disk(str(tmp_path / "splits"))
    fails(tmp_path / "splits", "several splits")
