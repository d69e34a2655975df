"""GCG on texts: suffixes that are read as their tokens, who searches for what, and what a second attempt does not do again."""

import json
from dataclasses import replace

import chat_families
import pytest
import tiny
import torch
from together import on_ranks

from raysafe.context import local_context
from raysafe.data.records import EvalPrompt, Identity
from raysafe.errors import ConfigError, StageStopped
from raysafe.evaluation.answering import Decoding, generator
from raysafe.evaluation.attacks import Victim
from raysafe.evaluation.attacks.gcg import Gcg
from raysafe.evaluation.suffixes import Seat, usable_tokens

CHAT = tiny.chat("llama3")
MODEL = tiny.llama(len(CHAT.tokenizer)).requires_grad_(False)
QUICK = Gcg(steps=2, top_k=16, batch=8, length=4, target_tokens=3)
PROMPTS = [EvalPrompt(Identity("e", 7 + n), tiny.ask(f"How {n}?"), None, "Sure, open it." if n != 1 else None) for n in range(4)]
FAMILIES = ["llama2", "mistral", "mistral on bytes", "llama3", "gemma3", "qwen3, whose answers come after a thought"]


def victim(context=None, **places):
    context = context or local_context()
    return Victim(MODEL, CHAT, generator(MODEL, CHAT, Decoding(3), context), context, **places)


def draw():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_drawn_suffix_is_read_as_its_tokens_behind_the_request(name):
    chat = chat_families.chat(name)
    seat, allowed = Seat.of(chat, tiny.ask("How do I open it? ")), usable_tokens(chat, len(chat.tokenizer) + 9)
    suffix = seat.drawn(6, allowed, draw())
    (text,) = seat.texts([suffix])
    before, found, after = seat.split(text)
    assert found == suffix and seat.asked(text)[-1].content == f"How do I open it? {text}"
    assert chat.prompt_ids(seat.asked(text)) == [*before, *suffix, *after] and allowed[suffix].all()


def test_a_suffix_whose_text_is_read_otherwise_is_not_readable():
    """The characters of a word's token; and a token without the blank that stands before every suffix."""
    seat, ids = Seat.of(CHAT, tiny.ask("How?")), CHAT.tokenizer.convert_tokens_to_ids
    before, the, after = seat.split("the")
    assert the == ids(["Ġthe"])
    assert seat.readable([the, ids(["Ġ", "t", "h", "e"]), ids(["e"])], before, after) == [True, False, False]


def test_special_blank_and_broken_tokens_are_not_used():
    tokenizer = CHAT.tokenizer
    usable = usable_tokens(CHAT, len(tokenizer) + 5)
    names = {token: tokenizer.decode([token]) for token in usable.nonzero()[:, 0].tolist()}
    assert all(text.strip() and text.isprintable() and "\ufffd" not in text for text in names.values())
    assert not {*tokenizer.all_special_ids, *CHAT._ids("\n"), *range(len(tokenizer), len(tokenizer) + 5)} & set(names)
    assert set(CHAT._ids("How do I open the box?")) <= set(names)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    played = QUICK.play(PROMPTS, victim(folder=folder))
    return played, (folder / "gcg.jsonl").read_text()


def test_what_is_asked_is_the_request_with_the_suffix_that_was_kept(alone):
    played, kept = alone
    rows = [json.loads(line) for line in kept.splitlines()]
    assert [(case.place, row["index"]) for (case, _), row in zip(played, rows, strict=True)] == [(0, 7), (2, 9), (3, 10)]
    for (case, _), row in zip(played, rows, strict=True):
        assert case.asked[-1].content == f"How {case.place}? {row['suffix']}" and list(case.input_ids) == CHAT.prompt_ids(
            case.asked
        )
        assert row["loss"] == min(row["losses"]) < row["losses"][0] and len(row["losses"]) == 1 + QUICK.steps


@pytest.mark.parametrize("changed", [{"micro_batch": 3}, {"prompts": 1}])
def test_neither_micro_batches_nor_other_prompts_change_what_is_found(alone, changed):
    played = replace(QUICK, **changed).play(PROMPTS, victim())
    assert [case for case, _ in played] == [case for case, _ in alone[0]][: len(played)] and played


def test_another_seed_finds_another_suffix(alone):
    assert replace(QUICK, seed=1, prompts=1).play(PROMPTS, victim())[0][0] != alone[0][0][0]


def test_workers_share_the_prompts_and_all_have_all_answers(alone, tmp_path):
    found = on_ranks(2, lambda context: QUICK.play(PROMPTS, victim(context, folder=tmp_path)))
    assert found == [alone[0]] * 2 and (tmp_path / "gcg.jsonl").read_text() == alone[1]


def test_a_second_attempt_searches_only_for_what_the_first_had_not_found(alone, tmp_path, monkeypatch):
    """The first is stopped at the fifth of its steps: each prompt takes an end beside its two steps."""
    steps = iter(range(99))
    stopping = replace(local_context(), stop_asked=lambda: next(steps) == 4)
    with pytest.raises(StageStopped):
        QUICK.play(PROMPTS, victim(stopping, workspace=tmp_path))
    searched, search = [], Gcg._search
    monkeypatch.setattr(Gcg, "_search", lambda self, place, *rest: searched.append(place) or search(self, place, *rest))
    assert QUICK.play(PROMPTS, victim(workspace=tmp_path)) == alone[0] and searched == [2, 3]


def test_progress_is_told_after_each_prompt():
    rows = []
    context = replace(local_context(), report_row=lambda step, row: rows.append((step, row)) or False)
    QUICK.play(PROMPTS, victim(context))
    assert [(step, row["gcg/prompts"]) for step, row in rows] == [(1, 1.0), (2, 2.0), (3, 3.0)] and rows[0][1]["gcg/loss"] > 0


def test_a_given_beginning_is_where_a_search_starts_and_one_that_cannot_be_read_is_refused():
    (case, _), *_ = replace(QUICK, initial="the box the", steps=1, prompts=1).play(PROMPTS, victim())
    words = case.asked[-1].content.removeprefix("How 0? ")
    assert len(Seat.of(CHAT, PROMPTS[0].prompt).split(words)[1]) == len(CHAT._ids(" the box the"))
    with pytest.raises(ConfigError, match="`evaluation.attacks.gcg.initial`"):
        replace(QUICK, initial="a <|eot_id|>").play(PROMPTS, victim())
