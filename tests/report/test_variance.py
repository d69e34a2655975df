"""The table of variance by source: which sources a sweep can tell, and what it says of those that it can't."""

from dataclasses import replace

import pandas
import pytest

from raysafe.report.variance import markdown_variance, variance_of, write_variance

from .rows import a_row


def of(rows, by_prompt=lambda trial, figure: {}):
    return {line.source: line for line in variance_of(rows, by_prompt) if line.figure == "utility"}


RATES = {(0, 0): 0.2, (0, 1): 0.4, (1, 0): 0.6, (1, 1): 1.0}
"""By seeds of ranking and training."""


def on_axes(world=0, **others):
    rows = [replace(a_row(seed=training, utility=rate), seed_ranking=ranking) for (ranking, training), rate in RATES.items()]
    return [replace(row, trial=f"{place}", seed_world=world, **others) for place, row in enumerate(rows)]


def test_seeds_on_axes_are_told_apart_by_hand():
    """tests/evaluation/test_components.py derives the components: .12, .04 and .01, of .17; in a mean of 2 × 2 trials half of the
    first two and a quarter of the last: .06, .02 and .0025, of .0825."""
    lines = of(on_axes())
    told = [lines[name] for name in ("ranking seed", "training seed", "the rest: interaction of the seeds, answers")]
    assert [one.df for one in told] == [1, 1, 1]
    assert [one.sd**2 for one in told] == pytest.approx([0.12, 0.04, 0.01])
    assert [one.share for one in told] == pytest.approx([12 / 17, 4 / 17, 1 / 17])
    assert [one.sd_of_mean**2 for one in told] == pytest.approx([0.06, 0.02, 0.0025])
    assert sum(one.share_of_mean for one in told) == pytest.approx(1)


def test_what_one_value_cannot_tell_is_named():
    lines = of(on_axes())
    assert lines["world seed"].note.startswith("not measured: one value") and lines["world seed"].sd is None
    assert lines["prompt"].note == "not measured: what single prompts gave is not known"


def test_a_list_of_seeds_is_one_source_with_prompts_beside_it():
    """As in the first test of the components: 2.5, 6 and 4, in nats or shares alike."""
    values = {"gamma0.1-seed0": {"a": 1.0, "b": 3.0}, "gamma0.1-seed1": {"a": 2.0, "b": 8.0}}
    lines = of([a_row(seed=0), a_row(seed=1)], lambda trial, figure: values[trial])
    seed = lines["seed (world, ranking and training together)"]
    assert [line.sd**2 for line in lines.values()] == pytest.approx([2.5, 6, 4]) and seed.levels == 2


def test_one_trial_has_prompts_and_answers_in_one():
    lines = of([a_row()], lambda trial, figure: {"a": 1.0, "b": 0.0})
    assert lines["the rest: prompts and answers"].sd ** 2 == pytest.approx(0.5)
    assert [line.note for line in lines.values()][:2] == [
        "not measured: one value, or not to be told from another source", "not measured: each was asked once",
    ]  # fmt: skip


def test_only_finished_trials_count_and_none_gives_no_table():
    stopped = [replace(row, status="STOPPED") for row in on_axes()]
    assert variance_of(stopped, lambda trial, figure: {}) == [] and markdown_variance([]) == ""
    assert variance_of([*on_axes(), *stopped], lambda *_: {}) == variance_of(on_axes(), lambda *_: {})


def test_the_file_has_a_line_a_source_and_empty_cells_for_what_is_not_measured(tmp_path):
    lines = variance_of(on_axes(), lambda trial, figure: {})
    write_variance(tmp_path / "variance.csv", lines)
    table = pandas.read_csv(tmp_path / "variance.csv")
    assert len(table) == len(lines) and set(table["figure"]) == {"win_rate", "safety_score", "over_refusal", "utility"}
    assert table["sd"].isna().equals(table["note"].notna())
    assert "| utility | ranking seed | 2 | 1 | 0.346 | 71% |" in markdown_variance(lines)
