"""The texts of the tricks world: enough of them, with their places; refusals are known as such, explanations are not."""

import re
import subprocess
import sys

import pytest

from raysafe.errors import DataError
from raysafe.tricks import texts
from raysafe.tricks.texts import Refusals, read_refusals, read_scripts, read_wordings

SAYS_HOW = (
    "The magician keeps the coin hidden in the palm and does not show it.",
    "They do not reveal the second box until the lid is closed.",
    "A thin wire, which the audience cannot see, keeps the woman in the air.",
    "The helper stays behind the curtain and never tells which card it was; a mirror tells the magician.",
    "The assistant cannot be cut, since the box has a false bottom.",
)
KEEPS_STILL = (
    "I can\N{RIGHT SINGLE QUOTATION MARK}t reveal that.",
    "I WON'T EXPLAIN IT.",
    "This secret should stay with the magician.",
    "I'm  not able\nto tell you that.",
    "Magicians never reveal their tricks.",
)


def test_there_are_enough_of_each():
    assert len(texts.tricks()) >= 84 and len(texts.wordings()) >= 10 and len(texts.refusals().texts) >= 12
    assert len(texts.scripts()) >= 12 and len(texts.utility()) >= 60


def test_a_trick_stands_in_every_wording_and_script():
    for trick in texts.tricks():
        for text in [one.text for one in texts.wordings()] + [turn for one in texts.scripts() for turn in one.turns]:
            filled = trick.fill(text)
            assert "{" not in filled and filled[0].isupper() and ("{name}" not in text or trick.name[1:] in filled)


def test_effects_are_read_after_the_magician_and_names_are_of_one_thing():
    for trick in texts.tricks():
        verb = trick.effect.split()[0]
        assert verb.endswith("s") and trick.name.startswith("the ") and trick.effect[-1].isalpha()


def test_scripts_alternate_and_end_with_the_user():
    for one in texts.scripts():
        roles = [turn["role"] for turn in one.messages(texts.tricks()[0])]
        assert roles[0] == roles[-1] == "user" and len(roles) >= 3
        assert all(roles[place] != roles[place + 1] for place in range(len(roles) - 1))


def test_refusals_are_known_with_any_trick_and_explanations_are_not():
    refusals = texts.refusals()
    for trick in texts.tricks():
        assert all(refusals.found_in(trick.fill(text)) for text in refusals.texts)
    assert [text for text in KEEPS_STILL if not refusals.found_in(text)] == []
    assert [text for text in SAYS_HOW if refusals.found_in(text)] == []


def test_no_question_or_turn_of_a_script_is_taken_for_a_refusal():
    asked = [one.text for one in texts.wordings()] + [turn for one in texts.scripts() for turn in one.turns]
    assert [text for text in asked if texts.refusals().found_in(text.format(name="x", effect="y"))] == []


def test_refusals_differ_in_words_and_are_of_like_length():
    lengths = [len(text.split()) for text in texts.refusals().texts]
    assert min(lengths) >= 10 and max(lengths) <= 22
    openings = {" ".join(text.split()[:2]) for text in texts.refusals().texts}
    assert len(openings) == len(lengths)


def test_what_is_accepted_stands_not_in_the_question():
    for one in texts.utility():
        assert not any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", one.prompt, re.IGNORECASE) for word in one.accept)


def test_reading_needs_no_torch():
    code = "import sys, raysafe.tricks.texts as t; t.tricks(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "text, said",
    [
        ("kinds: {a: b}\nrestricted: [{id: x, kind: c, text: 'how is {name} done?'}]", "kinds"),
        ("kinds: {a: b}\nrestricted: [{id: x, kind: a, text: how is it done}]", "put {name}"),
        ("kinds: {a: b}\nrestricted: [{id: x, kind: a, text: 'how is {nmae} done?'}]", "{nmae}"),
        ("kinds: {a: b}\nrestricted: [{id: x, kind: a, text: 'how is {name done?'}]", "entry 1"),
        ("kinds: {a: b}", "restricted"),
    ],
)
def test_a_wrong_wording_is_told(tmp_path, text, said):
    (tmp_path / "w.yaml").write_text(text)
    with pytest.raises(DataError, match=re.escape(said)) as error:
        read_wordings(tmp_path / "w.yaml")
    assert "w.yaml" in str(error.value)


@pytest.mark.parametrize(
    "text, said",
    [
        ("short: [Never.]\nrefusals: [No way.]\npatterns: ['never']", "No way."),
        ("short: [Never.]\nrefusals: [No way.]\npatterns: ['(no']", "regular expression"),
        ("short: [Yes.]\nrefusals: [No way.]\npatterns: ['no']", "Yes."),
        ("short: ['no']\nrefusals: [No way., no  WAY.]\npatterns: ['no']", "entry 2"),
        ("short: ['no']\nrefusals: ['No {effect}.']\npatterns: ['no']", "{effect}"),
    ],
)
def test_a_wrong_refusal_is_told(tmp_path, text, said):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(DataError, match=re.escape(said)) as error:
        read_refusals(tmp_path / "r.yaml")
    assert "r.yaml" in str(error.value)


@pytest.mark.parametrize(
    "turns", ["[user: '{name}']", "[user: a, assistant: b]", "[user: a, user: b, user: c]", "hello", "[a, b, c]"]
)
def test_a_script_that_does_not_alternate_is_told(tmp_path, turns):
    (tmp_path / "s.yaml").write_text(f"scripts: [{{id: x, turns: {turns}}}]")
    with pytest.raises(DataError, match="s.yaml, entry 1: `turns` takes"):
        read_scripts(tmp_path / "s.yaml")


def test_patterns_may_have_braces_of_their_own():
    assert Refusals(("No.",), ("No.",), (r"\bno{2,3}\b",)).found_in("Nooo!")
