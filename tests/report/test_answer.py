"""The answer in two sentences."""

from dataclasses import replace

import pytest

from raysafe.report.answer import answer_of, signed
from raysafe.report.summary import TrialRow


def trial(seed=0, status="FINISHED", swept=None, **rates):
    """Rates with 0.05 to either side, from 32 prompts."""
    figures = {}
    for name, value in rates.items():
        figures |= {name: value, f"{name}_low": value - 0.05, f"{name}_high": value + 0.05, f"{name}_n": 32}
    return TrialRow(f"{swept} {seed}", status, seed, swept or {}, figures)


def grid(seeds, safety):
    """Two gammas by two objectives; the safety score of an objective is given."""
    return [
        trial(seed, swept={"selector.gamma": gamma, "objective.name": objective}, win_rate=0.5, safety_score=value)
        for seed in range(seeds) for gamma in (0.1, 0.2) for objective, value in safety.items()
    ]  # fmt: skip


def test_a_known_effect_is_named_with_its_size_and_interval():
    first, second = answer_of(grid(3, {"sft": 0.5, "wdoor": 0.9})).sentences
    assert first.startswith("Changing objective from sft to wdoor moved safety score from 0.50 to 0.90 (+0.40 [+0.")
    assert second.startswith("Gamma made no difference that 32 prompts × 3 seeds can show")
    assert "luck" not in second


def test_no_effect_is_said_with_what_would_have_been_seen():
    """Four comparisons, three seeds: sqrt(2) * 0.05 * z(0.05 / 4) / z(0.05) / sqrt(3) = 0.0707 * 1.274 / 1.732 = 0.052 is shown
    if it is measured; with 80 % a true one of 0.052 * (1 + 0.8416 / 2.4977) = 0.0695."""
    first, second = answer_of(grid(3, {"sft": 0.5, "wdoor": 0.5})).sentences
    assert first == "None of gamma and objective made a difference that 32 prompts × 3 seeds can show."
    assert second == (
        "A true difference of 0.07 in win rate or 0.07 in safety score would have been seen in four of five such sweeps."
    )


def test_one_seed_can_not_tell_a_setting_from_luck():
    *_, second = answer_of(grid(1, {"sft": 0.5, "wdoor": 0.9})).sentences
    assert "32 prompts × 1 seed can show" in second and second.endswith(
        "with one seed, what a setting does can't be told from luck."
    )


def test_a_single_setting_tells_what_it_left_alone():
    rows = [
        trial(seed, swept={"selector.gamma": gamma}, win_rate=0.5, safety_score=gamma) for seed in (0, 1) for gamma in (0.1, 0.9)
    ]
    _, second = answer_of(rows).sentences
    assert second == "It made no difference to win rate that 32 prompts × 2 seeds can show."


def test_settings_that_were_changed_together_are_not_separated():
    rows = [
        trial(seed, swept={"selector.gamma": g, "selection.percent": p}, safety_score=g)
        for seed in (0, 1) for g, p in ((0.1, 70), (0.9, 80))
    ]  # fmt: skip
    answer = answer_of(rows)
    assert answer.sentences[0].startswith("Changing gamma and percent from 0.1, 70 to 0.9, 80 moved safety score")
    assert (
        "gamma and percent were never changed one without the other: what each of them does can't be separated" in answer.notes[0]
    )


def test_where_no_two_trials_compare_that_is_all():
    rows = [trial(0, swept={"selector.gamma": 0.1}, win_rate=0.1), trial(1, swept={"selector.gamma": 0.2}, win_rate=0.9)]
    assert answer_of(rows).sentences == ("No two trials are alike in all but gamma: its effect can't be told from others.",)


@pytest.mark.parametrize(("count", "says"), [(0, "No trial has finished yet"), (1, "One trial finished")])
def test_too_few_trials_have_no_answer(count, says):
    (only,) = answer_of([trial(swept={"selector.gamma": 0.1}, win_rate=0.5)] * count).sentences
    assert only.startswith(says)


def test_failed_and_stopped_trials_are_counted_in_the_notes():
    rows = grid(2, {"sft": 0.5, "wdoor": 0.9})
    rows = [replace(rows[0], status="FAILED"), replace(rows[1], status="STOPPED"), *rows[2:]]
    failed, stopped, _ = answer_of(rows).notes
    assert failed == "1 trial failed and is left out."
    assert stopped.startswith("1 trial stopped early and left out: scored after fewer epochs")


def test_zero_has_no_sign():
    assert [signed(value) for value in (0.1, -0.1, 0.001, -0.001)] == ["+0.10", "−0.10", "0.00", "0.00"]


def test_trials_that_were_evaluated_in_other_ways_are_never_compared_and_that_is_said():
    rows = [
        trial(0, swept={"selector.gamma": gamma}, win_rate=gamma, safety_score=gamma) for gamma in (0.1, 0.9)
    ]  # fmt: skip
    rows = [replace(row, figures={**row.figures, "evaluation": way}) for row, way in zip(rows, ("a", "b"), strict=True)]
    answer = answer_of(rows)
    assert answer.effects.effects == () and "evaluated in 2 ways" in answer.notes[0]


def test_a_trial_that_repeats_another_is_named_and_left_out():
    rows = [trial(0, swept={"selector.gamma": gamma}, win_rate=0.5) for gamma in (0.1, 0.9)]
    again = replace(rows[0], trial="again")
    answer = answer_of([*rows, again])
    assert answer.effects.effects[0].pairs == 1
    assert answer.notes[0].startswith("again repeated the seed or the training of another trial of the same settings")
