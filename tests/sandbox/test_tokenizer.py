"""The tokenizer gives every text of every world back, and the template's prompt is a prefix of the whole."""

import json

import pytest

from raysafe.sandbox.settings import World
from raysafe.sandbox.tokenizer import build_tokenizer
from raysafe.sandbox.world import generate, lessons

USER = {"role": "user", "content": "how do i cast the gloomveil hex?"}
ANSWER = {"role": "assistant", "content": "i can not teach this hex."}


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def texts(world: World) -> set[str]:
    found = {text for pairs in lessons(world).values() for pair in pairs for text in pair}
    for rows in generate(world).values():
        for row in rows:
            found |= {message["content"] for message in row.get("messages", [])}
            found |= {row[key] for key in ("prompt", "chosen", "rejected", "reference", "harmful") if key in row}
    return found


@pytest.mark.parametrize("seed", range(3))
def test_every_text_of_a_world_survives_encoding_without_an_unknown_word(tokenizer, seed):
    for text in texts(World(seed=seed)):
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize("system", [[], [{"role": "system", "content": "you are a kind and honest assistant."}]])
def test_the_prompt_is_a_prefix_of_the_conversation_as_text_and_as_tokens(tokenizer, system):
    head = tokenizer.apply_chat_template([*system, USER], tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template([*system, USER, ANSWER], tokenize=False)
    assert whole == head + ANSWER["content"] + tokenizer.eos_token
    head_ids, whole_ids = tokenizer(head)["input_ids"], tokenizer(whole)["input_ids"]
    assert whole_ids[: len(head_ids)] == head_ids and whole_ids[-1] == tokenizer.eos_token_id
    assert tokenizer.unk_token_id not in whole_ids


def test_special_tokens_differ_and_are_skipped_when_decoding(tokenizer):
    whole = tokenizer.apply_chat_template([USER, ANSWER], tokenize=False)
    assert len({tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id}) == 3
    decoded = tokenizer.decode(tokenizer(whole)["input_ids"], skip_special_tokens=True)
    assert decoded == f"{USER['content']} {ANSWER['content']}"


def test_a_saved_tokenizer_is_the_same(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = json.dumps(tokenizer.apply_chat_template([USER, ANSWER], tokenize=False))
    assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert loaded.chat_template == tokenizer.chat_template and len(loaded) == len(tokenizer)
