"""Selections as artifacts: made once, by anyone, and known by what they were made from."""

from pathlib import Path

import pytest
import tiny

from raysafe.artifacts import Artifact, Store
from raysafe.errors import DataError
from raysafe.ranking.selecting import SELECTION_FILE, Choice, keep_rows, selected
from raysafe.ranking.tables import Ranking, Selection, keep_top

ROWS = [tiny.example(i, response=f"answer {i}", unsafe=bool(i % 2)) for i in range(5)]


@pytest.fixture
def ranking(tmp_path):
    """A rank stage's artifact."""
    folder = tmp_path / "rank" / "r"
    Ranking.of(ROWS, [0.1, 0.9, 0.5, 0.7, 0.3], {}, ("beware",)).save(folder / "ranking.parquet")
    return Artifact("rank", "r", folder)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def kept(artifact):
    return Selection.load(artifact.folder / SELECTION_FILE)


def test_the_artifact_holds_the_top_rows_and_says_how_many(ranking, store):
    artifact = selected(Choice.of_ranking(ranking, 60), store)
    whole = Ranking.load(ranking.folder / "ranking.parquet")
    assert kept(artifact).rows == keep_top(whole, 60).rows == (1, 2, 3) and kept(artifact).warnings == ("beware",)
    assert artifact.result == {"rows": 3, "total": 5, "unsafe_share": pytest.approx(2 / 3)}


def test_a_second_time_it_is_there(ranking, store):
    first = selected(Choice.of_ranking(ranking, 60), store)
    (ranking.folder / "ranking.parquet").unlink()
    assert selected(Choice.of_ranking(ranking, 60), store) == first


def test_it_is_known_by_ranking_and_percentage_and_not_by_place(ranking, store):
    elsewhere = Artifact("rank", "r", Path("/nowhere"))
    other = Artifact("rank", "s", ranking.folder)
    keys = [selected(choice, store).key for choice in (Choice.of_ranking(ranking, 60), Choice.of_ranking(elsewhere, 60))]
    keys += [selected(choice, store).key for choice in (Choice.of_ranking(ranking, 40), Choice.of_ranking(other, 60))]
    assert keys[0] == keys[1] and len(set(keys)) == 3


def test_a_file_is_known_by_what_it_holds(ranking, store, tmp_path):
    artifact = selected(Choice.of_ranking(ranking, 60), store)
    paths = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    for path in paths:
        path.write_bytes((artifact.folder / SELECTION_FILE).read_bytes())
    one, two = (selected(Choice.of_file(path, None), store) for path in paths)
    assert one == two != artifact and kept(one).rows == (1, 2, 3)
    assert kept(selected(Choice.of_file(paths[0], 20), store)).rows == (1,), "its scores, with a percentage of one's own"


def test_a_trials_copy_is_its_own(ranking, store, tmp_path):
    choice = Choice.of_ranking(ranking, 60)
    assert keep_rows(choice, store, tmp_path / "trial").rows == (1, 2, 3)
    own = tmp_path / "trial" / SELECTION_FILE
    assert own.read_bytes() == (selected(choice, store).folder / SELECTION_FILE).read_bytes() and not own.is_symlink()


def test_what_is_no_ranking_leaves_no_artifact(store, tmp_path):
    (tmp_path / "notes.parquet").write_text("no parquet")
    with pytest.raises(DataError, match="can't be read as parquet"):
        selected(Choice.of_file(tmp_path / "notes.parquet", 50), store)
    assert not list(store.root.glob("selection/*/manifest.json"))
