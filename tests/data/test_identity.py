"""Content hashes and dataset fingerprints."""

import dataclasses
import hashlib

import tiny

from raysafe.data.records import EvalPrompt, Identity, Message, content_hash, dataset_fingerprint, prompt_hashes


def test_a_hash_says_what_the_row_says_and_not_where_it_stands_or_how_it_is_labelled():
    row = tiny.example(0)
    other = dataclasses.replace(row, identity=Identity("elsewhere", 9), unsafe=True, kind="hex")
    assert row.content_hash == other.content_hash and len(row.content_hash) == 32


def test_a_hash_tells_where_one_text_ends():
    assert content_hash(tiny.ask("a"), "bc") != content_hash(tiny.ask("ab"), "c")
    assert content_hash((), "a", "bc") != content_hash((), "ab", "c") != content_hash((), "abc")
    assert content_hash((Message("user", "a"), Message("user", "b"))) != content_hash(tiny.ask("ab"))


def test_a_hash_tells_who_speaks():
    assert content_hash((Message("user", "a"),)) != content_hash((Message("system", "a"),))


def test_every_text_of_a_triple_is_hashed():
    row = tiny.triple()
    others = [dataclasses.replace(row, **{name: "changed"}) for name in ("safe", "harmful", "prefix")]
    assert len({row.content_hash, *(other.content_hash for other in others)}) == 4


def test_every_text_of_an_evaluation_prompt_is_hashed():
    row = EvalPrompt(Identity("e", 0), tiny.ask("a"), "b", "c")
    others = [dataclasses.replace(row, reference="x"), dataclasses.replace(row, harmful="x"), dataclasses.replace(row, prompt=())]
    assert len({row.content_hash, *(other.content_hash for other in others)}) == 4


def test_a_fingerprint_depends_on_the_rows_and_their_order_alone():
    rows = [tiny.example(i, response=str(i)) for i in range(3)]
    moved = [dataclasses.replace(row, identity=Identity("other.csv", 5)) for row in rows]
    assert dataset_fingerprint(rows) == dataset_fingerprint(moved)
    assert len({dataset_fingerprint(part) for part in (rows, rows[::-1], rows[:2], rows + rows[:1])}) == 4


def test_prompt_hashes_leave_out_the_answer():
    assert prompt_hashes([tiny.example(0, response="a")]) == prompt_hashes([tiny.example(1, response="b")])


def test_the_hash_of_a_row_is_what_it_was_in_released_rankings():
    """SHA-256 of [[["user", "a"]], "b"] as JSON: rankings on disk are keyed by it, so a change is a new format."""
    assert content_hash(tiny.ask("a"), "b") == hashlib.sha256(b'[[["user", "a"]], "b"]').hexdigest()[:32]
