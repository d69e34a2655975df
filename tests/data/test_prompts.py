"""Evaluation rows of public benchmarks: a label is never taken for a prompt."""

import json

import pytest

from raysafe.data.loading import load_eval_prompts
from raysafe.data.records import Message
from raysafe.errors import DataError

JBB = "Index,Goal,Target,Behavior,Category,Source"
HARMBENCH = "Behavior,FunctionalCategory,SemanticCategory,Tags,ContextString,BehaviorID"
XSTEST = "id,prompt,type,label,focus,note"


def read(tmp_path, *lines):
    (tmp_path / "a.csv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return load_eval_prompts(tmp_path / "a.csv")


def read_json(tmp_path, row):
    (tmp_path / "a.json").write_text(json.dumps([row]))
    (prompt,) = load_eval_prompts(tmp_path / "a.json")
    return prompt


def refused(tmp_path, *lines):
    with pytest.raises(DataError) as caught:
        read(tmp_path, *lines)
    return str(caught.value)


def text(prompt):
    (turn,) = prompt.prompt
    return turn.content


def test_jailbreakbench_asks_for_the_goal_and_its_target_is_the_harmful_beginning(tmp_path):
    (row,) = read(tmp_path, JBB, '0,Play a prank,"Sure, here is one",Prank,Harassment,Original')
    assert (text(row), row.harmful, row.kind, row.reference) == ("Play a prank", "Sure, here is one", "Harassment", None)


def test_harmbench_asks_for_the_behaviour_behind_its_context(tmp_path):
    lines = (HARMBENCH, "Explain it,standard,illegal,,,b1", 'Rewrite it,contextual,copyright,,"Once upon a time.",b2')
    plain, contextual = read(tmp_path, *lines)
    assert (text(plain), plain.kind, plain.harmful) == ("Explain it", "illegal", None)
    assert text(contextual) == "Once upon a time.\n\n---\n\nRewrite it"


def test_advbench_has_a_goal_and_a_target(tmp_path):
    (row,) = read(tmp_path, "goal,target", "Open it,Sure")
    assert (text(row), row.harmful) == ("Open it", "Sure")


def test_a_table_that_was_saved_with_row_numbers_is_the_same(tmp_path):
    assert text(read(tmp_path, ",goal,target", "0,Open it,Sure")[0]) == text(read(tmp_path, "goal,target", "Open it,Sure")[0])


def test_xstest_has_a_type_and_says_what_is_unsafe(tmp_path):
    safe, unsafe = read(tmp_path, XSTEST, "1,Kill a process?,homonyms,safe,kill,", "2,Kill a man?,contrast,unsafe,kill,")
    assert (text(safe), safe.kind, safe.unsafe) == ("Kill a process?", "homonyms", False)
    assert unsafe.unsafe is True
    assert "`label` takes safe or unsafe, but got 'maybe'" in refused(tmp_path, XSTEST, "1,Kill?,homonyms,maybe,kill,")


def test_sorry_bench_has_one_turn(tmp_path):
    row = {"question_id": 7, "category": 3, "turns": ["Write it"], "prompt_style": "base"}
    prompt = read_json(tmp_path, row)
    assert (text(prompt), prompt.kind) == ("Write it", "3")
    with pytest.raises(DataError, match="row 1: `turns` takes a list of one text"):
        read_json(tmp_path, {**row, "turns": ["One", "Two"]})


def test_a_conversation_is_asked_for_its_objective(tmp_path):
    turns = [{"role": role, "content": content} for role, content in (("user", "A"), ("assistant", "B"), ("user", "C"))]
    row = {"objective": "Open the box", "conversation": turns}
    prompt = read_json(tmp_path, row)
    assert text(prompt) == "Open the box"
    assert prompt.scripts == ((Message("user", "A"), Message("assistant", "B"), Message("user", "C")),)
    with pytest.raises(DataError, match="a prompt ends with a user turn"):
        read_json(tmp_path, {**row, "conversation": turns[:2]})


@pytest.mark.parametrize(
    "header",
    [
        "Behavior,SemanticCategory,BehaviorID",
        "Index,Goal,Behavior,Category",
        f"{JBB},Extra",
        f"{HARMBENCH},ImageFileName",
        "Goal,Target",
        "goal,target,category",
        "Behavior",
        "text,label",
    ],
)
def test_a_table_with_other_columns_is_refused_with_line_and_columns(tmp_path, header):
    said = refused(tmp_path, header, ",".join("x" * (header.count(",") + 1)))
    assert "a.csv, line 2: no known layout: got the keys " in said
    assert "Behavior, Category, Goal, Source, Target (JailbreakBench)" in said and "goal, target (AdvBench)" in said


def test_a_prompt_that_another_layout_contradicts_is_refused(tmp_path):
    said = refused(tmp_path, "prompt,instruction,output", "violence,How?,So.")
    assert "a.csv, line 2: `prompt` and instruction and output ask different things" in said
    assert text(read(tmp_path, "prompt,instruction,output", "How?,How?,So.")[0]) == "How?"


def test_a_prompt_brings_its_conversations_and_the_phrases_that_make_an_answer_right(tmp_path):
    script = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Tell me."},
    ]
    row = read_json(tmp_path, {"prompt": "Capital?", "scripts": [script, "Tell me now."], "accept": ["Paris", "City of Light"]})
    assert [[turn.content for turn in one] for one in row.scripts] == [["Hi", "Hello", "Tell me."], ["Tell me now."]]
    assert row.accept == ("Paris", "City of Light")
    assert read_json(tmp_path, {"prompt": "Capital?", "accept": ["Rome"]}).content_hash != row.content_hash


@pytest.mark.parametrize(("key", "value"), [("accept", "Paris"), ("accept", [1]), ("scripts", "Tell me."), ("scripts", [3])])
def test_phrases_and_conversations_of_another_shape_are_refused(tmp_path, key, value):
    with pytest.raises(DataError, match=rf"(`{key}` takes|messages is expected)"):
        read_json(tmp_path, {"prompt": "Capital?", key: value})
