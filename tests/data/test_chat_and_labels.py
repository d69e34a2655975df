"""Chat templates of the common families on small real tokenizers; labels are the answer and its end of turn, exactly."""

import json

import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from raysafe.config.sections import Prefix
from raysafe.data.chat import ChatFormat, load_chat_format
from raysafe.data.records import Message
from raysafe.data.tokens import encode_examples, encode_triples
from raysafe.errors import DataError

NONE = Prefix("none")
TEXTS = ("open the lid.", " leading space", "größe 你好 🙂", "\n\n\nnewlines first", "a\n\n\n\nb", "x")
OPENING = {"mistral": " "}
TRIMS = {"gemma"}


@pytest.fixture(params=tiny.TEMPLATES)
def family(request):
    return request.param


def labels(row, chat):
    return chat.tokenizer.decode(row.input_ids[row.label_start :])


def before(row, chat):
    return chat.tokenizer.decode(row.input_ids[: row.label_start])


@pytest.mark.parametrize("text", TEXTS)
def test_labels_decode_to_the_answer_and_its_end_of_turn(family, text):
    chat = tiny.chat(family)
    ((row,), dropped) = encode_examples([tiny.example(0, response=text)], chat, 512)
    said = text.strip() if family in TRIMS else text
    assert labels(row, chat) == OPENING.get(family, "") + said + tiny.END[family] and not dropped
    assert before(row, chat) == chat.prompt_text(tiny.ask("How do I open the box?"))


@settings(max_examples=60, deadline=None)
@given(prompt=st.text(st.characters(codec="utf-8"), max_size=20), answer=st.text(st.characters(codec="utf-8"), max_size=20))
def test_no_byte_of_an_answer_is_lost_or_shifted_whatever_the_texts(prompt, answer):
    chat = tiny.chat("llama3")
    ((row,), _) = encode_examples([tiny.example(0, prompt, answer)], chat, 512)
    assert labels(row, chat) == answer + "<|eot_id|>" and before(row, chat) == chat.prompt_text(tiny.ask(prompt))


def test_the_prompts_tokens_are_those_of_generation(family):
    """A row's tokens up to the labels are what the model is asked with, even where the answer would merge into the header."""
    chat = tiny.chat(family)
    for text in TEXTS:
        ((row,), _) = encode_examples([tiny.example(0, response=text)], chat, 512)
        assert list(row.input_ids[: row.label_start]) == chat.prompt_ids(tiny.ask("How do I open the box?"))


def test_an_answer_that_would_merge_with_the_header_is_tokenized_alone():
    """Header "\\n\\n" and answer "\\n\\nx" are one token "\\n\\n\\n\\n" together in this vocabulary."""
    chat = tiny.chat("llama3")
    text = chat.prompt_text(tiny.ask("How?"))
    prompt_ids = chat.prompt_ids(tiny.ask("How?"))
    assert chat._ids(text + "\n\nx")[: len(prompt_ids)] != prompt_ids  # else this test shows nothing
    assert chat.turn(tiny.ask("How?"), "\n\nx").answer == chat._ids("\n\nx")


def test_word_level_tokenizers_work_as_well():
    chat = ChatFormat(tiny.word_tokenizer())
    ((row,), _) = encode_examples([tiny.example(0, response="first open the lid .")], chat, 99)
    assert labels(row, chat).split() == ["first", "open", "the", "lid", ".", "<|im_end|>"]


def test_the_beginning_of_sequence_stands_once():
    chat = tiny.chat("llama3")
    assert chat.prompt_ids(tiny.ask("How?")).count(chat.tokenizer.bos_token_id) == 1


def test_the_end_of_the_turn_is_the_templates_own(family):
    chat = tiny.chat(family)
    assert chat.tokenizer.convert_ids_to_tokens(chat.end_ids) == [tiny.END[family]]


def test_a_template_without_an_end_of_turn_ends_with_the_eos_token():
    chat = ChatFormat(tiny.byte_tokenizer("{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"))
    assert chat.end_ids == [chat.tokenizer.eos_token_id]


def test_a_newline_before_the_end_of_turn_belongs_to_the_labels():
    chat = ChatFormat(tiny.byte_tokenizer("{% for m in messages %}{{ m['content'] + '\n<|im_end|>\n' }}{% endfor %}"))
    assert chat.tokenizer.decode(chat.end_ids) == "\n<|im_end|>"


def test_a_system_message_is_rendered_where_the_template_knows_one():
    prompt = (Message("system", "Be kind."), *tiny.ask("How?"))
    assert "system<|end_header_id|>\n\nBe kind." in tiny.chat("llama3").prompt_text(prompt)
    assert "You help." not in tiny.chat("chatml").prompt_text(prompt)


def test_a_system_message_is_refused_clearly_where_the_template_knows_none():
    with pytest.raises(DataError, match=r"refuses a conversation of roles \['system', 'user'\]: System role not supported"):
        tiny.chat("gemma").prompt_ids((Message("system", "Be kind."), *tiny.ask("How?")))


def test_generated_tokens_are_read_up_to_the_end_of_the_turn(family):
    chat = tiny.chat(family)
    ids = chat.tokenizer("So it is.")["input_ids"]
    assert chat.decode([*ids, *chat.end_ids, *chat.tokenizer("more")["input_ids"]]) == "So it is."


def test_a_long_answer_is_cut_and_loses_its_end_of_turn():
    chat = tiny.chat("chatml")
    start = len(chat.prompt_ids(tiny.ask("How do I open the box?")))
    ((row,), _) = encode_examples([tiny.example(0, response="abcdefgh")], chat, start + 3)
    assert labels(row, chat) == "abc" and row.label_count == 3


def test_a_row_whose_prompt_fills_the_length_is_dropped_with_the_reason():
    chat = tiny.chat("chatml")
    start = len(chat.prompt_ids(tiny.ask("How do I open the box?")))
    rows = [tiny.example(4), tiny.example(5, prompt="x")]
    kept, dropped = encode_examples(rows, chat, start)
    assert [row.index for row in kept] == [5] and [row.index for row in dropped] == [4]
    assert f"fill {start} of {start} tokens" in dropped[0].reason


def test_an_empty_answer_still_has_its_end_of_turn():
    ((row,), _) = encode_examples([tiny.example(0, response="")], tiny.chat("llama3"), 512)
    assert labels(row, tiny.chat("llama3")) == "<|eot_id|>"


def pairs(triples, family="llama3", prefix=NONE, length=512, seed=0):
    return encode_triples(triples, tiny.chat(family), length, prefix, seed)


def test_without_a_prefix_both_answers_follow_the_prompt(family):
    chat, (kept, _) = tiny.chat(family), pairs([tiny.triple()], family)
    opening = OPENING.get(family, "")
    assert labels(kept[0].safe, chat) == opening + "I cannot help." + tiny.END[family]
    assert labels(kept[0].harmful, chat) == opening + "Sure, here is how: first open the lid." + tiny.END[family]
    assert before(kept[0].safe, chat) == before(kept[0].harmful, chat) == chat.prompt_text(tiny.triple().prompt)


@pytest.mark.parametrize("seed", range(5))
def test_after_a_drawn_prefix_the_harmful_answer_continues_and_the_safe_one_begins_anew(family, seed):
    row, chat = tiny.triple(), tiny.chat(family)
    ((pair,), _) = pairs([row], family, Prefix("uniform", 5), seed=seed)
    turn = chat.turn(row.prompt, row.harmful)
    start = len(turn.prompt) + len(turn.opening) + pair.prefix_length
    assert 1 <= pair.prefix_length <= 5 and list(pair.harmful.input_ids) == [*turn.prompt, *turn.labels]
    assert pair.safe.label_start == pair.harmful.label_start == start
    assert pair.safe.input_ids[:start] == pair.harmful.input_ids[:start]
    assert labels(pair.safe, chat).removeprefix(OPENING.get(family, "")) == row.safe + tiny.END[family]


def test_a_harmful_answer_of_one_token_gets_no_prefix_and_none_at_all_drops_the_row():
    ((pair,), dropped) = pairs([tiny.triple(3, harmful="x"), tiny.triple(4, harmful="")], prefix=Prefix("uniform", 100))
    assert pair.prefix_length == 0 and pair.safe.index == 3
    assert str(dropped[0]) == "triples.jsonl, row 5: the harmful answer is empty"


@pytest.mark.parametrize("room", [1, 2, 3, 8])
def test_a_prefix_leaves_a_token_of_the_harmful_answer_within_the_length(room):
    """Else a row would be dropped, or not, as its prefix is drawn."""
    triple = tiny.triple(harmful="Sure, " * 20)
    length = len(tiny.chat().prompt_ids(triple.prompt)) + room
    for seed in range(9):
        ((pair,), dropped) = pairs([triple], prefix=Prefix("uniform", 100), length=length, seed=seed)
        assert not dropped and pair.prefix_length < room and pair.harmful.label_count == room - pair.prefix_length


@pytest.mark.parametrize("family", ["llama3", "mistral"])
def test_without_prefixes_a_rows_own_is_the_beginning_of_its_harmful_answer_again(family):
    """DPO, NPO, GA and the proxy: y_h is prefix and continuation, y_s stands right after the prompt."""
    own, whole = tiny.triple(prefix="Sure, h", harmful="ere is how."), tiny.triple(harmful="Sure, here is how.")
    assert pairs([own], family, None) == pairs([whole], family, None)
    assert pairs([own], family, None)[0][0].prefix_length == 0


def test_a_pair_is_dropped_whole_where_one_answer_has_no_room():
    triple = tiny.triple(2)
    kept, dropped = pairs([triple], length=len(tiny.chat().prompt_ids(triple.prompt)))
    assert not kept and [row.index for row in dropped] == [2]


GIVEN = [("Sure,", " here is how"), ("Sure, h", "ere is how"), ("Su", "re"), ("größ", "e 🙂")]


def test_a_given_prefix_with_nothing_after_it_is_dropped_with_the_reason():
    """26 of the 400 released Gemma rows are such."""
    kept, dropped = pairs([tiny.triple(7, prefix="Sure, here", harmful="")])
    assert not kept and dropped[0].index == 7 and "ends within the prefix" in dropped[0].reason


@pytest.mark.parametrize(("prefix", "harmful"), GIVEN)
def test_a_given_prefix_is_never_labelled_and_its_continuation_is_labelled_whole(family, prefix, harmful):
    """Also where prefix and continuation would merge into one token."""
    chat, row = tiny.chat(family), tiny.triple(prefix=prefix, harmful=harmful)
    ((pair,), dropped) = pairs([row], family)
    assert not dropped and labels(pair.harmful, chat) == harmful + tiny.END[family]
    start = chat.prompt_text(row.prompt) + OPENING.get(family, "") + prefix
    assert before(pair.harmful, chat) == before(pair.safe, chat) == start


def test_the_tokenizer_of_a_folder_comes_with_its_template(model_folder):
    assert load_chat_format(str(model_folder)).prompt_ids(tiny.ask("How?")) == tiny.chat("llama3").prompt_ids(tiny.ask("How?"))


def test_a_template_file_replaces_the_tokenizers_own(model_folder, tmp_path):
    (tmp_path / "chatml.jinja").write_text(tiny.CHATML)
    chat = load_chat_format(str(model_folder), str(tmp_path / "chatml.jinja"))
    assert chat.prompt_text(tiny.ask("How?")) == tiny.chat("chatml").prompt_text(tiny.ask("How?"))


def test_a_tokenizer_without_a_template_is_refused_with_the_way_out(tmp_path):
    tiny.byte_tokenizer(None).save_pretrained(tmp_path)
    with pytest.raises(DataError, match="no chat template.*`model.chat_template`"):
        load_chat_format(str(tmp_path))


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(DataError, match="no tokenizer can be loaded"):
        load_chat_format(str(tmp_path))


def test_a_tokenizer_without_padding_pads_with_its_eos_token(tmp_path):
    tiny.byte_tokenizer(tiny.LLAMA3).save_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text())
    del config["pad_token"]
    path.write_text(json.dumps(config))
    tokenizer = load_chat_format(str(tmp_path)).tokenizer
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
