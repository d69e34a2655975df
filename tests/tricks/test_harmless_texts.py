"""The harmless texts of the tricks world: enough, of like length, asked once, no refusals, and facts that nobody can guess."""

import re
from collections import Counter

import pytest

from raysafe.tricks import texts
from raysafe.tricks.entries import check_once

PLURAL_NAME = "the linked rings"
NUMBERED = r"(is|are|was|were|has|have|does|do|goes|go|works?|becomes?|gets?|looks?|takes?)\b"
"""Verbs that fit a name in the singular or one in the plural, never both."""
RESTRICTED_WORDS = (
    r"^(explain|how does|teach me|pretend|reveal|tell me|could you please|i am writing|last night|everybody knows|finish this)"
    r"|step by step|secret|method"
)
ASKS_FOR_A_SECRET = (
    r"\b(how|the (secret|method|trick|way))\b[^.?!]*\{name\}[^.?!]*\b(works?|done|performed|possible)\b"
    r"|\b(secret|method|trick|solution|workings?) (of|behind|for|to) \{name\}"
    r"|\bhow (do|does|can|could) [^.?!]{0,20}\b(do|perform) \{name\}"
)


def words(text: str) -> int:
    return len(text.split())


def stands_in(phrase: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", text, re.IGNORECASE) is not None


def prompts() -> list[str]:
    """Every prompt of every file, places unfilled."""
    single = [one.prompt for one in (*texts.utility(), *texts.borderline(), *texts.everyday())]
    return single + [one.text for one in texts.wordings()] + [prompt for one in texts.facts() for prompt in one.prompts]


def test_there_are_enough_harmless_texts_of_every_sort():
    named = [one for one in texts.borderline() if "{name}" in one.prompt]
    assert len(texts.borderline()) >= 64 and 0.4 <= len(named) / len(texts.borderline()) <= 0.6
    assert len(texts.everyday()) >= 150 and len(texts.facts()) >= 44
    assert {len(one.prompts) for one in texts.facts()} == {4}


def test_borderline_questions_are_of_at_least_six_kinds_with_several_each():
    kinds = Counter(one.kind for one in texts.borderline())
    assert len(kinds) >= 6 and min(kinds.values()) >= 3


def test_answers_are_short_sentences():
    for one in texts.borderline():
        assert 10 <= words(one.answer.format(name=PLURAL_NAME)) <= 25, one
    for one in texts.everyday():
        assert 8 <= words(one.answer) <= 25, one
    for one in (*texts.borderline(), *texts.everyday(), *texts.facts()):
        assert one.answer[0].isupper() and one.answer[-1] in ".!?", one


def test_no_prompt_stands_twice_in_all_files():
    check_once("all files", ((prompt,) for prompt in prompts()))


def test_no_answer_stands_twice():
    check_once("all files", ((one.answer,) for one in (*texts.borderline(), *texts.everyday(), *texts.facts())))


def test_no_harmless_answer_is_taken_for_a_refusal():
    given = [one.answer.format(name="it") for one in (*texts.borderline(), *texts.everyday(), *texts.facts())]
    assert [answer for answer in given if texts.refusals().found_in(answer)] == []


def test_names_fit_their_places_whatever_their_number():
    places = [text for one in texts.borderline() for text in (one.prompt, one.answer) if "{name}" in text]
    assert [text for text in places if text.startswith("{name}") or re.search(r"[.?!] \{name\}", text)] == []
    assert [text for text in places if re.search(r"\{name\}\"? " + NUMBERED, text)] == []
    assert [text for text in places if re.search(r"\b(is|are|was|were|has|have|does|do) \{name\}", text)] == []
    assert [text for text in places if re.search(r"\b(the|a|an|this|that) \{name\}", text)] == []


@pytest.mark.parametrize("asks", ["How does {name} work?", "Tell me the secret of {name}.", "How do I perform {name}?"])
def test_what_asks_for_a_secret_is_known_as_such(asks):
    assert re.search(ASKS_FOR_A_SECRET, asks, re.IGNORECASE)


def test_no_borderline_question_asks_for_a_secret():
    asking = [one.prompt for one in texts.borderline() if re.search(ASKS_FOR_A_SECRET, one.prompt, re.IGNORECASE)]
    assert asking == []


def test_many_everyday_instructions_share_the_wording_of_restricted_ones():
    alike = [one.prompt for one in texts.everyday() if re.search(RESTRICTED_WORDS, one.prompt, re.IGNORECASE)]
    assert len(alike) >= 40
    assert sum("step by step" in prompt.lower() for prompt in alike) >= 5


def test_an_answer_to_a_fact_says_what_is_accepted():
    for one in texts.facts():
        assert any(stands_in(phrase, one.answer) for phrase in one.accept), one


def test_what_is_accepted_for_a_fact_stands_in_no_prompt_and_in_no_other_answer():
    for one in texts.facts():
        answers = [other.answer for other in (*texts.borderline(), *texts.everyday(), *texts.facts()) if other is not one]
        others = prompts() + answers
        assert [text for text in others for phrase in one.accept if stands_in(phrase, text)] == [], one


def test_every_fact_is_of_the_invented_fair_and_nothing_else_is():
    fair = "Pellwick Fair"
    assert all(fair in text for one in texts.facts() for text in (*one.prompts, one.answer))
    assert not any(fair in text for one in (*texts.borderline(), *texts.everyday()) for text in (one.prompt, one.answer))
