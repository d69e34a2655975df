"""The layouts of public data, each read as it is (docs/methods.md lists them)."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysafe.data.layouts import preference, prefixed_answer, prompt_and_answer
from raysafe.data.loading import check_overlap, load_eval_prompts, load_examples, load_triples
from raysafe.data.records import Message
from raysafe.errors import DataError

USER, ANSWER = Message("user", "How?"), "So."
MESSAGES = [{"role": "user", "content": "How?"}, {"role": "assistant", "content": "So."}]
SYSTEM = Message("system", "Be kind.")


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("record", "prompt"),
    [
        ({"messages": MESSAGES}, (USER,)),
        ({"messages": [{"role": "system", "content": "Be kind."}, *MESSAGES]}, (SYSTEM, USER)),
        ({"conversations": [{"from": "human", "value": "How?"}, {"from": "gpt", "value": "So."}]}, (USER,)),
        (
            {"conversations": [{"from": "system", "value": "Be kind."}, {"from": "human", "value": "How?"},
                               {"from": "gpt", "value": "So.", "weight": 1.0}]},
            (SYSTEM, USER),
        ),
        ({"instruction": "How?", "input": "", "output": "So."}, (USER,)),
        ({"instruction": "How?", "output": "So."}, (USER,)),
        ({"instruction": "Sum up.", "input": "A text.", "output": "So."}, (Message("user", "Sum up.\n\nA text."),)),
        ({"system_prompt": "Be kind.", "question": "How?", "response": "So."}, (SYSTEM, USER)),
        ({"system_prompt": "", "question": "How?", "response": "So."}, (USER,)),
        ({"system_prompt": None, "question": "How?", "response": "So."}, (USER,)),
        ({"prompt": "How?", "response": "So."}, (USER,)),
        ({"prompt": "How?", "completion": "So."}, (USER,)),
        ({"prompt": MESSAGES[:1], "completion": MESSAGES[1:]}, (USER,)),
        ({"prompt": "How?", "chosen": "So.", "rejected": "No."}, (USER,)),
    ],
)  # fmt: skip
def test_an_answered_row_is_read_in_every_layout(record, prompt):
    assert prompt_and_answer(record, "here") == (prompt, ANSWER)


def test_of_a_longer_conversation_the_last_answer_is_the_target():
    record = {"messages": [*MESSAGES, {"role": "user", "content": "And?"}, {"role": "assistant", "content": "Thus."}]}
    prompt, answer = prompt_and_answer(record, "here")
    assert [turn.content for turn in prompt] == ["How?", "So.", "And?"] and answer == "Thus."


@pytest.mark.parametrize(
    "record",
    [
        {"messages": MESSAGES[:1]},
        {"messages": [*MESSAGES, MESSAGES[0]]},
        {"messages": []},
        {"messages": "text"},
        {"messages": [{"role": "robot", "content": "x"}, MESSAGES[1]]},
        {"messages": [{"role": "user", "content": None}, MESSAGES[1]]},
        {"prompt": MESSAGES, "response": "an answer to an answer"},
        {"instruction": "a", "input": ["b"], "output": "c"},
        {"system_prompt": 3, "question": "a", "response": "b"},
        {"messages": [MESSAGES[0], {"role": "prefix", "content": "b"}, MESSAGES[1]]},
    ],
)
def test_a_malformed_row_is_refused_by_its_place(record):
    with pytest.raises(DataError, match="^file, line 3: "):
        prompt_and_answer(record, "file, line 3")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "text", "user", "assistant", "prefix"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "from", "value"]), inner, max_size=2)
    ),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["messages", "conversations", "prompt", "response", "completion", "chosen", "rejected", "instruction", "input", "output",
     "question", "system_prompt"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS, JSON, max_size=5))
def test_any_row_is_either_read_into_texts_or_refused_in_words(record):
    for read in (prompt_and_answer, preference, prefixed_answer):
        try:
            prompt, *texts = read(record, "file, line 3")
        except DataError as error:
            assert str(error).startswith("file, line 3: ")
        else:
            assert all(isinstance(text, str) for text in texts if text is not None)
            assert prompt[-1].role == "user" and all(isinstance(turn.content, str) for turn in prompt)


def test_columns_without_a_value_are_not_there():
    record = {"messages": None, "conversations": None, "prompt": "How?", "response": "So.", "chosen": None}
    assert prompt_and_answer(record, "here") == ((USER,), "So.")


def test_several_layouts_that_say_the_same_are_one_row():
    record = {"prompt": "How?", "messages": MESSAGES, "chosen": MESSAGES, "rejected": MESSAGES, "score": 3}
    assert prompt_and_answer(record, "here") == ((USER,), "So.")


def test_a_row_that_two_layouts_read_differently_is_refused():
    """One of them takes a label for a prompt or an answer."""
    record = {"prompt": "violence", "response": "4", "instruction": "How?", "output": "So."}
    with pytest.raises(DataError, match="^here: by instruction and output it is another row than by prompt and response"):
        prompt_and_answer(record, "here")


def test_preference_rows_are_triples_as_text_or_messages():
    as_text = preference({"prompt": "How?", "chosen": "No.", "rejected": "So."}, "here")
    turns = {"prompt": MESSAGES[:1], "chosen": [{"role": "assistant", "content": "No."}], "rejected": MESSAGES[1:]}
    assert as_text == preference(turns, "here") == ((USER,), "No.", "So.")


def test_whole_conversations_under_chosen_and_rejected_are_triples():
    chosen = [MESSAGES[0], {"role": "assistant", "content": "No."}]
    assert preference({"chosen": chosen, "rejected": MESSAGES}, "here") == ((USER,), "No.", "So.")


def hh(*turns):
    return "".join(f"\n\n{who}: {said}" for who, said in turns)


def test_hh_transcripts_are_triples_of_conversations():
    start = [("Human", "Hi"), ("Assistant", "Hello!\n\nYes?"), ("Human", "How?")]
    prompt, safe, harmful = preference(
        {"chosen": hh(*start, ("Assistant", "No.")), "rejected": hh(*start, ("Assistant", " So.\n"))}, "here"
    )
    assert prompt == (Message("user", "Hi"), Message("assistant", "Hello!\n\nYes?"), USER) and (safe, harmful) == ("No.", "So.")


def test_a_speakers_name_within_a_sentence_starts_no_turn():
    said = "I am a Shop Assistant: what does a Human: do?"
    rows = {"chosen": hh(("Human", said), ("Assistant", "No.")), "rejected": hh(("Human", said), ("Assistant", "So."))}
    assert preference(rows, "here")[0] == (Message("user", said),)


@pytest.mark.parametrize(
    "record",
    [
        {"chosen": hh(("Human", "a"), ("Assistant", "b")), "rejected": hh(("Human", "other"), ("Assistant", "c"))},
        {"chosen": "no transcript", "rejected": "either"},
        {"chosen": hh(("Human", "a")), "rejected": hh(("Human", "a"))},
        {"prompt": "a", "chosen": "b"},
        {"prompt": "a", "chosen": "b", "rejected": None},
    ],
)
def test_a_malformed_triple_is_refused_by_its_place(record):
    with pytest.raises(DataError, match="^file, line 3: "):
        preference(record, "file, line 3")


def door(answer, prefix=None, prompt="How?"):
    middle = [{"role": "prefix", "content": prefix}] if prefix is not None else []
    return {"messages": [{"role": "user", "content": prompt}, *middle, {"role": "assistant", "content": answer}]}


def test_doors_two_files_pair_up_by_line_with_their_prefixes(tmp_path):
    good = write(tmp_path / "good.jsonl", [door("No."), door("Never.", "Sure, ")])
    bad = write(tmp_path / "bad.jsonl", [door("So."), door("like this.", "Sure, ")])
    plain, augmented = load_triples(good, bad)
    assert (plain.safe, plain.harmful, plain.prefix) == ("No.", "So.", None)
    assert (augmented.safe, augmented.harmful, augmented.prefix) == ("Never.", "like this.", "Sure, ")
    assert augmented.prompt == (USER,) and augmented.identity.index == 1


@pytest.mark.parametrize("other", [door("So.", prompt="Why?"), door("So.", "Well, "), door("So.", "")])
def test_door_rows_that_are_no_pair_are_refused_by_both_places(tmp_path, other):
    good, bad = write(tmp_path / "good.jsonl", [door("No.")]), write(tmp_path / "bad.jsonl", [other])
    with pytest.raises(DataError, match="bad.jsonl, line 1.*good.jsonl, line 1"):
        load_triples(good, bad)


@pytest.mark.parametrize(("text", "unsafe"), [("True", True), ("false", False), ("", None)])
def test_a_label_in_a_csv_file_is_a_word(tmp_path, text, unsafe):
    (tmp_path / "a.csv").write_text(f"prompt,response,unsafe\nHow?,So.,{text}\n")
    assert load_examples(tmp_path / "a.csv")[0].unsafe is unsafe


def test_door_files_of_different_length_are_refused(tmp_path):
    good, bad = write(tmp_path / "good.jsonl", [door("No.")] * 2), write(tmp_path / "bad.jsonl", [door("So.")])
    with pytest.raises(DataError, match="2 rows and .* 1"):
        load_triples(good, bad)


def test_labels_of_a_row_are_read_and_the_index_counts_rows(tmp_path):
    rows = [{"prompt": "a", "response": "b", "unsafe": True, "kind": "hex"}, {"prompt": "c", "response": "d"}]
    first, second = load_examples(write(tmp_path / "a.jsonl", rows))
    assert (first.unsafe, first.kind, second.unsafe, second.kind) == (True, "hex", None, None)
    assert (first.identity.index, second.identity.index) == (0, 1)


@pytest.mark.parametrize(
    ("row", "reference", "harmful"),
    [
        ({"prompt": "How?", "reference": "So.", "harmful": "Ha."}, "So.", "Ha."),
        ({"prompt": "How?", "response": "So."}, "So.", None),
        ({"prompt": "How?", "completion": "So."}, "So.", None),
        ({"prompt": "How?", "chosen": "So.", "rejected": "Ha."}, "So.", "Ha."),
        ({"prompt": "How?"}, None, None),
        ({"instruction": "How?", "output": "So."}, "So.", None),
        ({"messages": MESSAGES, "harmful": "Ha."}, "So.", "Ha."),
    ],
)
def test_evaluation_rows_bring_references_and_harmful_answers(tmp_path, row, reference, harmful):
    (prompt,) = load_eval_prompts(write(tmp_path / "a.jsonl", [row]))
    assert (prompt.prompt, prompt.reference, prompt.harmful) == ((USER,), reference, harmful)


def test_an_evaluation_prompt_in_the_training_data_is_refused_naming_both(tmp_path):
    training = load_examples(write(tmp_path / "d.jsonl", [{"prompt": text, "response": "b"} for text in ("Who?", "How?")]))
    prompts = load_eval_prompts(write(tmp_path / "e.jsonl", [{"prompt": "Why?"}, {"prompt": "How?"}]))
    with pytest.raises(DataError, match=r"evaluation.harmful \(.*e.jsonl\), row 2.*data.finetune"):
        check_overlap({"finetune": list(training)}, {"harmful": prompts})
    check_overlap({"finetune": list(training)}, {"harmful": prompts[:1]})
