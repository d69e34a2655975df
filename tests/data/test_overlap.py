"""Evaluation prompts in what is trained on: normalised equality is refused, shared pieces are counted."""

import numpy as np
import pytest

from raysafe.data.overlap import check_normalised, overlaps, told, words
from raysafe.data.records import EvalPrompt, Example, Identity, Message, Triple
from raysafe.errors import DataError

SEVEN = "which card is hidden inside the box"
NINE = "which red card is hidden inside the old box"


def asked(*texts):
    return {"utility": [EvalPrompt(Identity("eval.jsonl", i), (Message("user", text),)) for i, text in enumerate(texts)]}


def rows(*pairs):
    return {"finetune": [Example(Identity("d.jsonl", i), (Message("user", p),), a) for i, (p, a) in enumerate(pairs)]}


def only(training, evaluation, n=8):
    (line,) = overlaps(training, evaluation, n)
    return line


def test_words_leave_out_case_punctuation_and_forms_of_unicode_and_keep_symbols():
    assert words("  The ﬁne Box, isn't it?\n") == ["the", "fine", "box", "isn", "t", "it"]
    assert words("2+2") != words("2-2") and words("C++") != words("C")


@pytest.mark.parametrize("text", ["Which card is hidden, inside the box?", "which  card is\nhidden inside the ＢＯＸ"])
def test_a_prompt_that_differs_in_case_punctuation_white_space_or_unicode_is_refused_with_both_places(text):
    with pytest.raises(DataError, match=r"evaluation.utility: eval.jsonl.*data.finetune, d.jsonl.*but for case"):
        check_normalised(rows(("other", "x"), (text, "y")), asked("first", SEVEN))
    check_normalised(rows((f"{text} again", "y")), asked(SEVEN))


def test_a_replayed_conversation_counts_as_what_is_asked():
    prompt = EvalPrompt(Identity("e", 0), (Message("user", "aim"),), scripts=((Message("user", SEVEN),),))
    with pytest.raises(DataError, match="evaluation.attacks.multi_turn: e"):
        check_normalised(rows((SEVEN.upper(), "x")), {"evaluation.attacks.multi_turn": [prompt]})


def test_the_share_of_a_prompts_pieces_in_one_text_by_hand():
    """NINE has two pieces of 8 words. The first row holds the second of them, in its answer; two rows with a half each
    are no whole."""
    half, other = "red card is hidden inside the old box", "which red card is hidden inside the old"
    line = only(rows(("q", "x"), ("q", f"say: {half}!")), asked(NINE))
    assert (line.prompts, line.found, line.half, line.whole, line.most) == (1, 1, 1, 0, 0.5)
    assert line.row.startswith("d.jsonl") and "2" in line.row
    assert only(rows(("q", half), ("q", other)), asked(NINE)).most == 0.5
    assert only(rows(("q", f"I asked {NINE} then")), asked(NINE)).whole == 1


def test_a_short_prompt_is_looked_for_whole_and_one_of_two_words_not_at_all():
    assert only(rows(("q", f"well, {SEVEN.title()}.")), asked(SEVEN)).whole == 1
    assert only(rows(("q", SEVEN.removesuffix(" box"))), asked(SEVEN)).found == 0
    assert only(rows(("q", "the box")), asked("the box")).found == 0


def test_pieces_never_reach_over_two_texts_or_rows():
    first, second = NINE[: len(NINE) // 2], NINE[len(NINE) // 2 :]
    assert only(rows((first, second), (second, first)), asked(NINE)).found == 0


def test_both_answers_of_a_triple_are_looked_at():
    triple = Triple(Identity("a.jsonl", 0), (Message("user", "q"),), "no", f"sure, {NINE}")
    assert only({"align": [triple]}, asked(NINE)).whole == 1


def test_counts_equal_a_plain_search_on_random_texts():
    rng, letters = np.random.default_rng(0), np.array(list("abcd"))
    texts = [" ".join(rng.choice(letters, 12)) for _ in range(60)]
    prompts, training = texts[:20], texts[20:]
    n, plain = 3, []
    for prompt in prompts:
        mine = {tuple(prompt.split()[i : i + n]) for i in range(10)}
        theirs = [{tuple(text.split()[i : i + n]) for i in range(10)} for text in training]
        plain.append(max(len(mine & one) / len(mine) for one in theirs))
    line = only(rows(*((text, "z") for text in training)), asked(*prompts), n)
    assert line.most == max(plain) and line.half == sum(share >= 0.5 for share in plain)
    assert line.found == sum(share > 0 for share in plain)


def test_one_line_tells_it_either_way():
    assert "no evaluation prompt shares 8 words" in told(overlaps(rows(("q", "x")), asked(NINE)))
    assert "utility with finetune 1 of 1 (1 by half, 1 whole)" in told(overlaps(rows(("q", NINE)), asked(NINE)))
