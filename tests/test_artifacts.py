"""What every store of artifacts keeps to: the folder that processes share, and its twin in memory."""

import threading

import pytest

from raysafe.artifacts import MemoryStore, Store


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path):
    return Store(tmp_path) if request.param == "folder" else MemoryStore()


def make(store, key="k", text="made", kind="rank"):
    with store.making(kind, key, {"input": 1}) as place:
        if place is None:
            return False
        folder, result = place
        (folder / "file.txt").write_text(text)
        result["rows"] = 3
        return True


def test_what_was_made_is_there_with_its_files_and_its_manifest(store):
    assert not store.ready("rank", "k") and make(store) and store.ready("rank", "k")
    artifact = store.artifact("rank", "k")
    assert (artifact.folder / "file.txt").read_text() == "made" and artifact.result == {"rows": 3}
    assert artifact.manifest()["inputs"] == {"input": 1} and artifact.manifest()["seconds"] >= 0


def test_nothing_is_made_twice(store):
    assert make(store) and not make(store, text="again")
    assert (store.artifact("rank", "k").folder / "file.txt").read_text() == "made"


def test_a_maker_that_fails_leaves_nothing_and_the_next_one_begins_with_an_empty_folder(store):
    with pytest.raises(KeyError), store.making("rank", "k", {}) as (folder, _):
        (folder / "half.txt").write_text("half")
        raise KeyError("a bug")
    assert not store.ready("rank", "k") and make(store)
    assert not (store.artifact("rank", "k").folder / "half.txt").exists()


def test_the_workspace_outlives_a_failure_and_goes_with_success(store):
    workspace = store.workspace("rank", "k")
    with pytest.raises(KeyError), store.making("rank", "k", {}):
        workspace.mkdir(parents=True)
        raise KeyError("a bug")
    assert workspace.exists() and make(store) and not workspace.exists()


def test_an_artifact_is_found_by_its_id(store):
    make(store, kind="log_probs", key="0a1b")
    assert store.by_id(store.artifact("log_probs", "0a1b").id) == store.artifact("log_probs", "0a1b")


def test_all_of_a_kind_are_those_that_are_whole(store):
    for key in ("b", "a"):
        make(store, key)
    make(store, "c", kind="train")
    with store.making("rank", "d", {}):
        assert [artifact.key for artifact in store.all_of("rank")] == ["a", "b"]
    assert store.all_of("evaluate") == []


def test_two_makers_at_once_are_one_after_the_other(store):
    made, started = [], threading.Event()
    with store.making("rank", "k", {}):
        other = threading.Thread(target=lambda: (started.set(), made.append(make(store))))
        other.start()
        started.wait()
        other.join(0.2)
        assert other.is_alive() and made == []
    other.join(10)
    assert made == [False]


def test_the_files_of_a_store_in_memory_go_with_it():
    store = MemoryStore()
    make(store)
    folder = store.artifact("rank", "k").folder
    del store
    assert not folder.exists()
