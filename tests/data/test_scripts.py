"""Attacks written beforehand, in the layouts in which they are public; every row here is about boxes."""

import json

import pytest

from raysafe.data.records import Message
from raysafe.data.scripts import Behaviors, load_scripts, scripts_ref
from raysafe.errors import DataError

TABLE = (
    "Behavior,FunctionalCategory,SemanticCategory,Tags,ContextString,BehaviorID\n"
    "Explain how the red box is opened,standard,boxes,,,open_red_box\n"
    'Rewrite the note,contextual,notes,,"Once upon a time, a box.",rewrite_note\n'
)
SUFFIXED = "Explain how the red box is opened ! ! now"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "behaviors.csv"
    path.write_text(TABLE, encoding="utf-8")
    return str(path)


def written(tmp_path, value):
    path = tmp_path / "cases.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def texts(row):
    return [[turn.content for turn in script] for script in row.scripts]


def refused(path, behaviors=None):
    with pytest.raises(DataError) as caught:
        load_scripts(path, behaviors)
    return str(caught.value)


def test_test_cases_are_asked_for_the_objective_that_they_stand_under(tmp_path):
    (row,) = load_scripts(written(tmp_path, {"Open the red box": ["Open it ! !", "Open it ? ?"]}))
    assert row.prompt == (Message("user", "Open the red box"),) and texts(row) == [["Open it ! !"], ["Open it ? ?"]]


def test_a_behaviour_id_stands_for_the_row_of_the_behaviours_with_its_context(tmp_path, table):
    cases = written(tmp_path, {"rewrite_note": ["Rewrite it ! !"], "open_red_box": [SUFFIXED]})
    note, box = load_scripts(cases, Behaviors(table, required=True))
    assert note.prompt[0].content == "Once upon a time, a box.\n\n---\n\nRewrite the note" and note.kind == "notes"
    assert box.prompt[0].content == "Explain how the red box is opened" and texts(box) == [[SUFFIXED]]
    assert [row.identity.index for row in (note, box)] == [0, 1] and note.identity.source == str(cases)


def test_the_text_of_a_behaviour_stands_for_its_row_too(tmp_path, table):
    (row,) = load_scripts(written(tmp_path, {"Rewrite the note": ["x"]}), Behaviors(table))
    assert row.kind == "notes" and row.prompt[0].content.startswith("Once upon a time")


@pytest.mark.parametrize("required", [True, False])
def test_an_id_that_no_behaviour_has_is_told_with_file_and_key(tmp_path, table, required):
    cases = written(tmp_path, {"open_red_box": ["a"], "open_blue_box": ["b"]})
    said = refused(cases, Behaviors(table, required))
    assert f"{cases}, key 'open_blue_box'" in said and f"no row of {table} has this BehaviorID" in said


def test_an_id_is_never_taken_for_a_request(tmp_path):
    said = refused(written(tmp_path, {"open_red_box": ["a"]}))
    assert "key 'open_red_box': it looks like a BehaviorID, not like a request, and no behaviours are known" in said


def test_an_objective_of_its_own_is_taken_only_where_no_table_was_named(tmp_path, table):
    cases = written(tmp_path, {"Open the blue box": ["a"]})
    assert load_scripts(cases, Behaviors(table))[0].prompt[0].content == "Open the blue box"
    assert "no row of" in refused(cases, Behaviors(table, required=True))


def test_a_table_without_ids_is_refused_where_ids_are_wanted(tmp_path):
    (tmp_path / "plain.csv").write_text("goal,target\nOpen it,Sure\n")
    said = refused(written(tmp_path, {"a b": ["a"]}), Behaviors(str(tmp_path / "plain.csv"), required=True))
    assert said == f"{tmp_path / 'plain.csv'}: behaviours have a column BehaviorID, but it has none."


@pytest.mark.parametrize("cases", [[], "open", [["picture.png", "open"]], [1], {"a": "b"}], ids=str)
def test_test_cases_are_lists_of_texts(tmp_path, cases):
    path = written(tmp_path, {"Open it": ["a"], "Open the box": cases})
    assert f"{path}, key 'Open the box': it takes a list of prompts" in refused(path)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("{}", "got no test cases"),
        ('{"a b": ["c"],\n "d e": [}', "line 2: not readable as JSON"),
        ('[{"prompt": "Open it"}]', "row 1: it has no conversation. Scripts are rows of objective and conversation"),
        ('[{"objective": "Open it", "conversation": [1]}]', "row 1: a message takes `role` and `content`, but got 1"),
        ('[{"objective": 3, "conversation": ["a"]}]', "row 1: `objective` takes a text, but got 3"),
    ],
    ids=lambda value: value[:20],
)
def test_a_wrong_file_is_told_with_its_line(tmp_path, value, told):
    assert told in refused(written(tmp_path, value)) and str(tmp_path / "cases.json") in refused(tmp_path / "cases.json")


def test_what_is_not_there_is_told(tmp_path):
    assert "no such file" in refused(tmp_path / "cases.json")


TURNS = [{"role": role, "content": text} for role, text in (("user", "A"), ("assistant", "B"), ("user", "C"))]


@pytest.mark.parametrize(
    ("conversation", "roles"),
    [
        (TURNS, ["user", "assistant", "user"]),
        ([{"role": "system", "content": "S"}, *TURNS], ["system", "user", "assistant", "user"]),
        ([TURNS[0], TURNS[2]], ["user", "user"]),
        (["A", "C"], ["user", "user"]),
        ([{"from": "human" if said != "B" else "gpt", "value": said} for said in "ABC"], ["user", "assistant", "user"]),
    ],
    ids=["messages", "with a system message", "the user's alone", "texts", "from and value"],
)  # fmt: skip
def test_a_conversation_is_read_with_its_objective(tmp_path, conversation, roles):
    path = written(tmp_path, [{"objective": "Open the box", "conversation": conversation}])
    (row,) = load_scripts(path)
    (script,) = row.scripts
    assert row.prompt == (Message("user", "Open the box"),)
    assert [turn.role for turn in script] == roles and script[-1].content == "C"


def test_other_test_cases_are_other_data_and_another_path_is_not(tmp_path, table):
    one = scripts_ref(str(written(tmp_path, {"open_red_box": ["a"]})), Behaviors(table))
    (tmp_path / "elsewhere").mkdir()
    moved = scripts_ref(str(written(tmp_path / "elsewhere", {"open_red_box": ["a"]})), Behaviors(table))
    other = scripts_ref(str(written(tmp_path, {"open_red_box": ["a", "b"]})), Behaviors(table))
    assert one.fingerprint == moved.fingerprint != other.fingerprint and other.rows == 1
    assert texts(other.prompts()[0]) == [["a"], ["b"]]
    with pytest.raises(DataError, match="the file has changed"):
        one.prompts()
