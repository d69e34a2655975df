"""Prompts and answers under the templates of many model families: ids are those of the conversation rendered with the answer."""

import chat_families
import pytest
import tiny
from chat_families import FAMILIES

from raysafe.config.sections import Prefix
from raysafe.data.chat import ChatFormat
from raysafe.data.records import Message
from raysafe.data.tokens import encode_examples, encode_triples
from raysafe.errors import DataError

HOW, SURE = tiny.ask("How?"), "Sure, so."
TEXTS = (SURE, "1", " leading space", "größe 你好 🙂", "trailing newline\n", "a\n\n\n\nb", "How?", "x", "")
R1, NEWLINE = "r1, whose prompt opens a thought that its answers lose", "an end that begins with a newline"
APART = {(NEWLINE, ""), *((R1, text) for text in TEXTS)}
THOUGHT = "qwen3, whose answers come after a thought"


@pytest.fixture(params=FAMILIES)
def name(request):
    return request.param


def rendered_ids(chat, prompt, answer):
    """The whole conversation as the template renders and the tokenizer reads it, up to the end of the turn."""
    turns = [{"role": turn.role, "content": turn.content} for turn in (*prompt, Message("assistant", answer))]
    ids = chat._ids(chat.tokenizer.apply_chat_template(turns, tokenize=False, date_string="26 Jul 2024"))
    return ids[: len(ids) - ids[::-1].index(chat.end_ids[-1])]


def text_of(chat, turn):
    return chat.tokenizer.decode([*turn.prompt, *turn.labels])


def test_a_prompt_and_its_answer_are_what_stands_in_the_book(name):
    chat, family = chat_families.chat(name), FAMILIES[name]
    assert chat.prompt_text(HOW) == family.prompt
    assert text_of(chat, chat.turn(HOW, SURE)) == family.prompt + family.opening + SURE + family.end


@pytest.mark.parametrize("text", TEXTS)
def test_prompt_and_labels_are_the_ids_of_the_rendered_conversation(name, text):
    chat = chat_families.chat(name)
    turn, whole = chat.turn(HOW, text), rendered_ids(chat, HOW, text)
    if whole[: len(turn.prompt)] == turn.prompt:
        assert [*turn.prompt, *turn.labels] == whole
    else:  # the generation prompt is no beginning of the conversation, or merges with what follows
        assert (name, text) in APART and turn.labels == chat._ids(text + FAMILIES[name].end)


@pytest.mark.parametrize("text", TEXTS)
def test_a_turn_ends_as_the_template_ends_it_and_what_is_before_says_the_answer(name, text):
    chat, family = chat_families.chat(name), FAMILIES[name]
    said = text.strip() if family.trims else text
    assert text_of(chat, chat.turn(HOW, text)) == family.prompt + family.opening + said + family.end
    assert chat.decode(chat.turn(HOW, SURE).labels).endswith(SURE)


@pytest.mark.parametrize("text", TEXTS)
def test_the_prompts_tokens_are_those_of_generation(name, text):
    chat = chat_families.chat(name)
    assert chat.turn(HOW, text).prompt == chat.prompt_ids(HOW) == chat._ids(FAMILIES[name].prompt)


def test_the_space_before_an_answer_is_part_of_its_first_token():
    """Llama-2's and Mistral's template: `[/INST]`, a space, the answer. Without it the first label is off the template."""
    for name in ("llama2", "mistral", "vicuna"):
        chat = chat_families.chat(name)
        turn = chat.turn(HOW, SURE)
        assert chat.tokenizer.convert_ids_to_tokens(turn.labels)[0] == "▁Sure," and not turn.opening


def test_a_space_that_is_a_token_of_its_own_is_labelled_and_stands_before_every_prefix():
    chat = chat_families.chat("mistral on bytes")
    turn, space = chat.turn(HOW, SURE), chat._ids(" ")
    assert turn.opening == space and turn.labels[:1] == space and turn.answer == chat._ids(SURE)


def test_a_closed_thought_is_labelled_without_a_prefix_and_given_before_one():
    chat, row = chat_families.chat(THOUGHT), tiny.triple()
    ((plain,), _), ((cut,), _) = (encode_triples([row], chat, 512, Prefix(mode, 1), 0) for mode in ("none", "uniform"))
    assert chat.tokenizer.decode(plain.safe.input_ids[plain.safe.label_start :]).startswith("<think>\n\n</think>\n\nI cannot")
    prompt = chat.prompt_text(row.prompt)
    assert chat.tokenizer.decode(cut.safe.input_ids[: cut.safe.label_start]).startswith(prompt + "<think>\n\n</think>\n")
    assert cut.prefix_length == 1 and cut.safe.label_start - plain.safe.label_start == len(chat.turn(HOW, SURE).opening) + 1


@pytest.mark.parametrize("k", [1, 2, 4])
def test_a_prefilled_beginning_is_tokenized_as_the_rendered_answer_begins(name, k):
    chat = chat_families.chat(name)
    turn = chat.turn(HOW, SURE)
    whole = [*turn.prompt, *turn.labels]
    assert [*turn.prompt, *turn.opening, *turn.answer[:k]] == whole[: len(turn.prompt) + len(turn.opening) + k]


@pytest.mark.parametrize(("given", "rest"), [("Sure, ", "so it is."), ("Su", "re."), ("größ", "e 🙂"), ("1 2", " 3")])
def test_a_given_beginning_keeps_its_boundary(name, given, rest):
    chat, family = chat_families.chat(name), FAMILIES[name]
    turn = chat.turn(HOW, rest, given)
    before = [*turn.prompt, *turn.opening, *turn.given]
    assert chat.tokenizer.decode(before) == family.prompt + family.opening + given
    assert chat.tokenizer.decode([*before, *turn.labels]) == family.prompt + family.opening + given + rest + family.end


def test_equal_rows_have_equal_ids_on_every_day():
    chat = chat_families.chat("llama3.2, which knows the day, and tools")
    assert "Today Date: 26 Jul 2024" in chat.prompt_text(HOW)


def test_the_fixed_day_reads_in_every_form():
    chat = ChatFormat(tiny.byte_tokenizer("{{ strftime_now('%A, %d. %B %Y; %y-%m-%dT%H:%M:%S') }}{{ messages[0]['content'] }}"))
    assert chat.prompt_text(HOW) == "Friday, 26. July 2024; 24-07-26T00:00:00How?"


def test_of_several_templates_the_default_is_taken():
    tokenizer, templates = tiny.byte_tokenizer(tiny.CHATML), {"default": tiny.CHATML, "rag": "no"}
    both = ChatFormat(type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer, chat_template=templates))
    assert both.prompt_text(HOW) == tiny.chat("chatml").prompt_text(HOW)


def test_a_thought_that_the_template_renders_anew_is_found_by_what_follows_it():
    chat = chat_families.chat(THOUGHT)
    turn = chat.turn(HOW, "<think>why</think>\n\n\nSo.")
    assert chat.tokenizer.decode(turn.labels) == "<think>\nwhy\n</think>\n\nSo.<|im_end|>"


def test_an_earlier_turn_that_changes_when_an_answer_follows_leaves_the_prompt_as_it_is_asked():
    template = (
        "{% for m in messages %}{{ '[' + m['role'] + (' last' if loop.last else '') + '] ' + m['content'] }}"
        "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '[assistant last]' }}{% endif %}"
    )
    chat = ChatFormat(tiny.byte_tokenizer(template))
    turn = chat.turn(HOW, SURE)
    assert chat.tokenizer.decode(turn.prompt) == "[user last] How?[assistant last]"
    assert chat.tokenizer.decode(turn.labels) == SURE + "</s>"


def test_an_answer_that_the_template_does_not_render_is_refused_by_file_and_row():
    template = "{% for m in messages %}{{ m['content'] | replace('so', 'SO') + eos_token }}{% endfor %}"
    chat = ChatFormat(tiny.byte_tokenizer(template))
    with pytest.raises(DataError, match=r"^rows.jsonl, row 4: .*does not render the answer 'so it is'"):
        encode_examples([tiny.example(3, response="so it is")], chat, 99)


def test_a_template_that_renders_no_answer_at_all_is_refused():
    chat = ChatFormat(tiny.byte_tokenizer("{{ bos_token + messages[0]['content'] }}"))
    with pytest.raises(DataError, match="does not render an assistant's answer"):
        chat.turn(HOW, SURE)


def test_a_prefix_that_the_template_changes_is_refused():
    chat = chat_families.chat(THOUGHT)
    with pytest.raises(DataError, match="does not render the prefix 'Well,"):
        chat.turn(HOW, "<think>why</think>So.", "Well, ")


def test_a_role_that_the_template_refuses_is_told_with_file_and_row():
    row = tiny.example(3)
    odd = type(row)(row.identity, (Message("system", "Be kind."), *row.prompt), row.response)
    with pytest.raises(DataError, match=r"^rows.jsonl, row 4: .*refuses a conversation of roles \['system', 'user'\]"):
        encode_examples([tiny.example(1), odd], tiny.chat("gemma"), 99)
