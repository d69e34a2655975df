"""Agreement between judges in a sweep's folder and on its page: all trials together, and each."""

import csv

import pytest
from judged import JudgedSweep

from raysafe.evaluation.judges import Sandbox
from raysafe.report.answer import answer_of
from raysafe.report.data import read_data
from raysafe.report.judges import ALL, JUDGES_CSV, JUDGES_MD, agreement_of, pooled, read_agreement, write_agreement
from raysafe.report.panels.base import Absent, Subject
from raysafe.report.panels.judges import agreement, agreement_table
from raysafe.sweep.judging_later import judge_later


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    found = JudgedSweep(tmp_path_factory.mktemp("judged"))
    judge_later(found.folder, Sandbox(), found.store, lambda text: None)
    return found


@pytest.fixture(scope="module")
def data(sweep):
    return read_data(sweep.folder)


def test_it_is_told_for_all_trials_together_and_for_each(sweep):
    """Both judges read six hexes under two attacks and two borderline requests of ten trials, and agree about all of them."""
    lines = read_agreement(sweep.folder, sweep.trials)
    together = {line.found.suite: line.found.of for line in pooled(lines)}
    assert {suite: (of.n, of.prompts) for suite, of in together.items()} == {
        "direct": (60, 6), "prefill": (60, 6), "borderline": (20, 2)
    }  # fmt: skip
    assert {line.scope for line in lines} == {ALL, *sweep.trials} and len(lines) == 3 * 11
    assert together["direct"].kappa == 1.0 and together["direct"].low < 1.0


def test_files_have_a_line_for_each_and_no_number_where_none_is_defined(sweep, data):
    write_agreement(sweep.folder, data.judges)
    with (sweep.folder / JUDGES_CSV).open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 33 and lines[0]["scope"] == ALL and lines[0]["kappa"] == "1"
    constant = [line for line in lines if line["scope"] == sweep.trials[0] and line["suite"] == "direct"]
    assert constant[0]["kappa"] == "" and "both always say yes" in constant[0]["note"]
    told = (sweep.folder / JUDGES_MD).read_text()
    assert "## All trials together" in told and "undefined" in told and told.count("| phrases, sandbox |") == 33


def test_the_page_has_a_picture_and_a_table(data):
    subject = Subject(data, answer_of(data.rows))
    (plot,), html = agreement(subject), agreement_table(subject)
    assert plot.name == "judges" and len(plot.tips) > 0
    assert "phrases, sandbox" in html and "Every trial (10)" in html and html.count("<tr>") == 2 + 33


def test_one_judge_alone_has_no_such_files_and_the_page_says_why(sweep, tmp_path):
    alone = sweep.copied(tmp_path / "alone")
    for path in alone.folder.glob("trials/*/verdicts.parquet"):
        path.unlink()
    data = read_data(alone.folder)
    with pytest.raises(Absent, match="one judge alone has nobody to agree with"):
        agreement(Subject(data, answer_of(data.rows)))
    (alone.folder / JUDGES_CSV).write_text("of another time")
    write_agreement(alone.folder, data.judges)
    assert not (alone.folder / JUDGES_CSV).exists() and agreement_of({}) == []


def test_a_broken_table_costs_the_page_nothing(sweep, tmp_path):
    broken = sweep.copied(tmp_path / "broken")
    (broken.folder / "trials" / sweep.trials[0] / "verdicts.parquet").write_text("torn")
    assert any("verdicts: can't be read" in problem for problem in read_data(broken.folder).problems)
