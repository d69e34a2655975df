"""Cohen's kappa by hand, against its large-sample formula, and how often its interval holds the truth."""

import math

import numpy as np
import pandas as pd
import pytest
from asking import answers_of, rows

from raysafe.evaluation.agreement import agreements, cohen, paired, pairs_of
from raysafe.evaluation.attacks import Direct
from raysafe.evaluation.by_prompt import Judged, PromptTable
from raysafe.evaluation.intervals import Z, wilson
from raysafe.evaluation.judges import Verdict


def verdicts(both, first, second, none):
    """Two judges' verdicts by how often both, one, or none says yes."""
    one = [True] * (both + first) + [False] * (second + none)
    other = [True] * both + [False] * first + [True] * second + [False] * none
    return one, other, list(range(len(one)))


def test_kappa_by_hand():
    """20 both, 5 the first alone, 10 the second, 15 neither: p = 35/50 = .7; a = .5, b = .6: e = .3 + .2 = .5; (.7 - .5)/.5."""
    found = cohen(*verdicts(20, 5, 10, 15))
    assert (found.n, found.prompts, found.note) == (50, 50, "")
    assert found.share == pytest.approx(0.7) and found.expected == pytest.approx(0.5)
    assert found.kappa == pytest.approx(0.4) and found.low < 0.4 < found.high


def test_the_interval_is_that_of_fleiss_cohen_and_everitt_where_it_is_wider():
    """Their variance for a 2 x 2 table, with the cells written out, times n / (n - 1) as the spread of a sample is taken.

    p_ij: shares; p_i., p_.j: of the rows and columns. n (1 - e)^4 var = sum_i p_ii [(1 - e) - (p_.i + p_i.)(1 - p)]^2
    + (1 - p)^2 sum_{i != j} p_ij (p_.i + p_j.)^2 - (p e - 2 e + p)^2.
    """
    counts = np.array([[200, 50], [100, 150]]) / 500
    share, row, column = counts.trace(), counts.sum(axis=1), counts.sum(axis=0)
    expected = (row * column).sum()
    diagonal = sum(counts[i, i] * ((1 - expected) - (column[i] + row[i]) * (1 - share)) ** 2 for i in range(2))
    apart = (1 - share) ** 2 * sum(counts[i, 1 - i] * (column[i] + row[1 - i]) ** 2 for i in range(2))
    variance = (diagonal + apart - (share * expected - 2 * expected + share) ** 2) / (500 * (1 - expected) ** 4)
    found = cohen(*verdicts(200, 50, 100, 150))
    half = Z * math.sqrt(variance * 500 / 499)
    assert found.high == pytest.approx(found.kappa + half, abs=1e-9)
    assert found.low == pytest.approx(min(found.kappa - half, (wilson(350, 500).low - 0.5) / 0.5), abs=1e-9)


def test_full_agreement_has_width_by_wilsons_interval_of_it():
    """p = 1 of 32: Wilson's lower end w; e = 1/2, so (w - 1/2) / (1/2)."""
    found = cohen(*verdicts(16, 0, 0, 16))
    assert found.kappa == 1.0 == found.high and found.low == pytest.approx(2 * wilson(32, 32).low - 1)


def test_answers_to_one_prompt_count_as_one_prompt():
    """Eight equal answers to each prompt say no more than one."""
    one, other, prompts = verdicts(10, 3, 4, 15)
    alone, many = cohen(one, other, prompts), cohen(one * 8, other * 8, prompts * 8)
    assert (many.kappa, many.prompts, many.n) == (pytest.approx(alone.kappa), 32, 8 * 32)
    assert (many.low, many.high) == (pytest.approx(alone.low), pytest.approx(alone.high))


@pytest.mark.parametrize(("say", "word"), [(True, "yes"), (False, "no")])
def test_where_both_always_say_the_same_kappa_is_undefined_and_it_is_said(say, word):
    found = cohen([say] * 5, [say] * 5, range(5))
    assert found.kappa is None and found.low is None and found.share == 1.0 and word in found.note


def test_where_one_always_says_the_same_kappa_is_nought_and_it_is_said():
    found = cohen([True] * 6, [True, False] * 3, range(6))
    assert found.kappa == 0.0 and found.low < 0 < found.high and found.note.startswith("one always says yes")


def test_nothing_to_agree_about_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        cohen([], [], [])


def test_one_prompt_alone_still_has_an_interval():
    found = cohen([True, False], [True, True], ["a", "a"])
    assert found.low < found.kappa < found.high


@pytest.mark.parametrize(("rate", "flipped"), [(0.5, 0.1), (0.5, 0.0), (0.3, 0.3)])
def test_its_interval_holds_the_truth_where_prompts_have_several_answers(rate, flipped):
    """32 prompts, 4 answers each, whose verdicts and disagreements half go by the prompt. At least .93 of 400 draws, of which by
    chance an interval of .95 has fewer than .92 once in 300 times."""
    rng, held = np.random.default_rng(7), 0
    other_rate = rate * (1 - flipped) + (1 - rate) * flipped
    expected = rate * other_rate + (1 - rate) * (1 - other_rate)
    truth = (1 - flipped - expected) / (1 - expected)

    def drawn(share):
        own, of_prompt = rng.random((4, 32)) < share, rng.random(32) < share
        return np.where(rng.random((4, 32)) < 0.5, own, of_prompt)

    for _ in range(400):
        one = drawn(rate)
        found = cohen(one.ravel(), (one ^ drawn(flipped)).ravel(), np.tile(np.arange(32), 4))
        held += found.low <= truth <= found.high
    assert held / 400 >= 0.93


@pytest.fixture
def table():
    """Four hexes asked directly, two questions to be answered rightly; the second judge flips hex 0 and sees gibberish in 3."""
    data = {"harmful": rows("h", 4), "utility": rows("u", 2, reference="x")}
    answers = answers_of(lambda text: "Gladly.", data, [Direct()])
    first = [Verdict(hit) for hit in (True, True, False, False, True, False)]
    second = [Verdict(hit) for hit in (False, True, False, False, True, False)]
    marked = PromptTable.of(answers, [Judged("one", True, first), Judged("two", False, second)], ("direct",))
    gibberish = (marked.frame["judge"] == "two") & (marked.frame["index"] == 3) & (marked.frame["suite"] == "direct")
    return PromptTable(marked.frame.assign(coherent=~gibberish), ("direct",))


def test_agreement_is_by_suite_over_answers_that_both_decided_about(table):
    """direct: hex 3 is gibberish to the second judge: of 0, 1, 2 two are called alike. utility: both of two."""
    assert pairs_of(table) == [("one", "two")]
    direct, utility = agreements(paired(table, "one", "two"), "one", "two")
    assert (direct.suite, direct.of.n, direct.of.share) == ("direct", 3, pytest.approx(2 / 3))
    assert (direct.hits, direct.other_hits, direct.coherent) == (pytest.approx(2 / 3), pytest.approx(1 / 3), 0.75)
    assert (utility.of.n, utility.of.kappa, utility.coherent) == (2, 1.0, 1.0)


def test_several_models_are_pooled_by_prompt(table):
    pairs = paired(table, "one", "two")
    direct = agreements(pd.concat([pairs, pairs]), "one", "two")[0].of
    assert (direct.n, direct.prompts) == (6, 3)


def test_a_suite_of_gibberish_has_no_agreement(table):
    nothing = PromptTable(table.frame.assign(coherent=False), ("direct",))
    assert [found.suite for found in agreements(paired(nothing, "one", "two"), "one", "two")] == ["utility"]


def test_one_name_may_judge_twice(table):
    same = PromptTable(table.frame.assign(judge="one"), ("direct",))
    assert pairs_of(same) == [("one", "one/")] and len(paired(same, "one", "one/")) == 6
