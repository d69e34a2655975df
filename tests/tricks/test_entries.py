"""Entries of files: what they may hold, and that what is wrong is named with file and entry."""

import re
from dataclasses import dataclass, field

import pytest

from raysafe.errors import DataError
from raysafe.tricks.entries import ONCE, PLACES, read_entries, read_lines, read_sections


@dataclass(frozen=True)
class Thing:
    name: str = field(metadata={ONCE: True, PLACES: ("name",)})
    parts: tuple[str, ...]


GOOD = {"name": "the {name}", "parts": ["a", "b"]}


def test_lists_become_tuples(tmp_path):
    assert read_entries(tmp_path / "x.yaml", [GOOD], Thing) == (Thing("the {name}", ("a", "b")),)


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"parst": ["c"]}, "parst"),
        ({"name": ""}, "`name` takes a text"),
        ({"name": 3}, "`name` takes a text, but got 3"),
        ({"parts": []}, "`parts` takes a list"),
        ({"parts": "c"}, "`parts` takes a list of texts, but got 'c'"),
        ({"parts": ["c", " "]}, "`parts` takes a text"),
        ({"parts": ["{name}"]}, "`parts` may have no place to be filled, but got {name}"),
        ({"name": "{effect}"}, "`name` may have {name}, but got {effect}"),
        ({"name": "The  {NAME}".replace("NAME", "name")}, "stands in entry 1"),
    ],
)
def test_a_wrong_entry_is_told(tmp_path, wrong, said):
    with pytest.raises(DataError, match=re.escape(said)) as error:
        read_entries(tmp_path / "x.yaml", [GOOD, {"name": "other", "parts": ["c"]} | wrong], Thing)
    assert "x.yaml, entry 2" in str(error.value)


def test_a_missing_key_is_told(tmp_path):
    with pytest.raises(DataError, match=r"x.yaml, entry 1: takes name, parts, but got \['parts'\]"):
        read_entries(tmp_path / "x.yaml", [{"name": "a"}], Thing)


@pytest.mark.parametrize("text", ["a: [1", "other: []", "a: []\nb: []", "- a", ""])
def test_a_file_of_other_sections_is_told(tmp_path, text):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(DataError, match="x.yaml"):
        read_sections(tmp_path / "x.yaml", ("a",))


def test_nothing_is_no_list_of_entries(tmp_path):
    for nothing in ([], None, {}):
        with pytest.raises(DataError, match="a list of entries"):
            read_entries(tmp_path / "x.yaml", nothing, Thing)


def test_a_broken_line_is_told_with_its_number(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"name": "a", "parts": ["b"]}\n{"name": \n')
    lines = read_lines(path, Thing)
    assert next(lines)[1] == Thing("a", ("b",))
    with pytest.raises(DataError, match=r"x.jsonl, line 2"):
        next(lines)
