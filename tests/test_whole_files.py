"""Files and folders appear whole or not at all."""

import pytest

from raysafe.artifacts import whole, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path):
    with whole(tmp_path / "a" / "rows.csv") as aside:
        aside.write_text("1")
        assert not (tmp_path / "a" / "rows.csv").exists() and aside.suffix == ".csv"
    assert names(tmp_path / "a") == ["rows.csv"]


def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path):
    write_text(tmp_path / "rows.csv", "before")
    with pytest.raises(OSError), whole(tmp_path / "rows.csv") as aside:
        aside.write_text("half")
        raise OSError("no room")
    assert names(tmp_path) == ["rows.csv"] and (tmp_path / "rows.csv").read_text() == "before"


def test_a_folder_replaces_the_whole_folder_of_its_name(tmp_path):
    write_text(tmp_path / "model" / "old", "")
    with whole(tmp_path / "model") as aside:
        write_text(aside / "new", "")
    assert names(tmp_path) == ["model"] and names(tmp_path / "model") == ["new"]


def test_a_failed_folder_is_removed(tmp_path):
    with pytest.raises(ValueError), whole(tmp_path / "model") as aside:
        write_text(aside / "weights", "half")
        raise ValueError
    assert names(tmp_path) == []
