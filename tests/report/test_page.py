"""The page and its files, from a sweep's folder as it is left on disk; tests/browser looks at it in a browser."""

import cProfile
import fcntl
import pstats
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from raysafe.errors import DataError
from raysafe.evaluation.intervals import clustered
from raysafe.report.data import read_data
from raysafe.report.markup import facts
from raysafe.report.page import write_page
from raysafe.report.panels import PANELS
from raysafe.report.panels.base import Spread, over_seeds
from raysafe.report.panels.tradeoffs import on_front
from raysafe.report.summary import read_summary, write_summary

from .folders import a_sweep, a_trial, combinations
from .rows import a_row

SMALL = combinations(percents=(80,), objectives=("sft",))
"""Two gammas, two seeds."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two gammas, two p's, two objectives, two seeds; everything that a sweep leaves."""
    folder = tmp_path_factory.mktemp("runs") / "made <up>"
    a_sweep(folder)
    write_page(folder)
    return folder


@pytest.fixture(scope="module")
def text(folder):
    return (folder / "report.html").read_text()


def test_the_page_has_everything_in_it(text):
    """Nothing is fetched: no script, no address but the name spaces of SVG, no file beside it."""
    assert "<script" not in text and not re.search(r'(?:src|href)="(?!#|data:)', text.replace("xlink:href", "href"))
    assert set(re.findall(r"https?://[\w./]+", text)) <= {"http://www.w3.org/1999/xlink"}


def test_the_page_says_what_was_asked_what_came_of_it_and_how_to_repeat_it(text):
    assert "Does &lt;gamma&gt; matter?" in text and "made &lt;up&gt;" in text
    assert "Changing objective from sft to wdoor moved" in text
    assert "torch 2.13.0" in text and "raysafe sweep" in text and "finetune: data.jsonl 0123456789abcdef" in text


def test_a_long_fact_has_a_row_for_itself():
    drawn = facts([("Trials", "4"), ("In training", "one of many " * 10), ("When", "")])
    assert drawn.count("<div>") == 1 and drawn.count('<div class="wide"><dt>In training') == 1 and "When" not in drawn


def test_every_panel_is_drawn(text):
    missing = [panel.key for panel in PANELS if f'<section id="{panel.key}">' not in text]
    assert missing == [] and "Not drawn" not in text


def test_every_picture_is_a_file_too(folder, text):
    names = {path.stem for path in (folder / "plots").glob("*.svg")}
    assert names == {path.stem for path in (folder / "plots").glob("*.png")}
    assert len(names) == text.count("<svg ") > 30
    for path in (folder / "plots").glob("*.svg"):
        ET.parse(path)


def test_rates_are_told_by_the_label_of_their_prompts(folder, text):
    """Of four prompts of either kind two are hits under each seed, and not the same: every prompt's mean is a half."""
    rate = clustered([dict.fromkeys(range(4), 0.5)])
    line = f"<td>0.50</td><td>{rate.low:.2f} – {rate.high:.2f}</td><td>4</td>"
    assert text.count(line) == len(("first", "second")) * len(("sft", "wdoor"))
    assert (folder / "plots" / "kinds-asr_direct.svg").exists()


def test_figures_in_nats_have_pictures_with_scales_of_their_own(folder, text):
    """Their differences are not drawn among those of rates, and by depth the base model stands beside the trials."""
    names = {path.stem for path in (folder / "plots").glob("*.svg")}
    assert {"differences-2-objective", "differences-2-objective-nats", "kl-depth-objective", "refusal-margin-objective"} <= names
    drawn = {name: (folder / "plots" / f"{name}.svg").read_text() for name in names}
    assert "refusal margin" in drawn["differences-2-objective-nats"] and "refusal margin" not in drawn["differences-2-objective"]
    assert "base model" in drawn["refusal-margin-objective"] and "base model" not in drawn["kl-depth-objective"]
    assert "nats" in drawn["setting-objective-refusal_margin"] and "rate, 0 to 1" not in drawn["setting-objective-refusal_margin"]


def test_ids_are_unique_on_the_page_and_colours_are_variables(text):
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    svgs = "".join(re.findall(r"<svg .*?</svg>", text, re.DOTALL))
    assert "var(--ink)" in svgs and not re.search("#1b1f24|#5b6570|#0072b2", svgs, re.IGNORECASE)
    assert set(re.findall(r"url\(#([^)]+)\)", svgs)) <= set(ids)


def test_points_say_what_they_are(text):
    assert "γ=0.1 p=70 sft seed 0\nwin rate 0." in text


def test_the_table_has_means_first_and_every_trial_folded(text):
    assert text.index("Means over seeds") < text.index("Every trial (16)")
    assert text.count('<span class="chip finished">finished</span>') == 8 + 16


def test_latex_and_markdown_have_the_tables(folder):
    tex, markdown = (folder / "report.tex").read_text(), (folder / "report.md").read_text()
    assert tex.count(r"\toprule") == tex.count(r"\bottomrule") == 2 and r"made \textless{}up\textgreater{}" in tex
    assert "**Changing objective from sft to wdoor" in markdown and markdown.count("| finished |") == 8 + 16


def test_a_running_sweep_says_how_far_it_is(tmp_path):
    a_sweep(tmp_path / "s", SMALL, ended=3)
    with (tmp_path / "s" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        text = write_page(tmp_path / "s").read_text()
    assert "running: 3 of 4 trials have ended" in text and "may change" in text


def test_while_no_trial_has_ended_there_are_curves(tmp_path):
    a_sweep(tmp_path / "s", SMALL)
    (tmp_path / "s" / "summary.csv").unlink()
    text = write_page(tmp_path / "s").read_text()
    assert "No trial has finished yet" in text and "training loss" in text


def test_a_summary_alone_makes_a_page_that_names_what_is_not_drawn(tmp_path):
    a_sweep(tmp_path / "s", SMALL, only_summary=True)
    text = write_page(tmp_path / "s").read_text()
    assert (
        "Training: tracking.jsonl has no points of trainings." in text
        and "Scores of the rankings: no trial has a selection" in text
    )
    assert text.count("<svg ") > 7


def test_broken_files_cost_their_panels_alone(tmp_path):
    a_sweep(tmp_path / "s", SMALL)
    (tmp_path / "s" / "tracking.jsonl").write_text("{\n")
    (tmp_path / "s" / "trials" / a_trial(0) / "selection.parquet").write_bytes(b"none")
    text = write_page(tmp_path / "s").read_text()
    assert "tracking.jsonl: can&#x27;t be read" in text and "selections: can&#x27;t be read" in text
    assert text.count("<svg ") > 7


def test_a_panel_that_fails_costs_nothing_else(tmp_path, monkeypatch):
    def broken(subject):
        raise ZeroDivisionError("of its own")

    monkeypatch.setattr("raysafe.report.page.PANELS", [replace(PANELS[0], draw=broken), *PANELS[1:]])
    a_sweep(tmp_path / "s", SMALL, only_summary=True)
    with pytest.warns(UserWarning, match="could not be drawn"):
        text = write_page(tmp_path / "s").read_text()
    assert "What moved: it could not be drawn (ZeroDivisionError: of its own)." in text and text.count("<svg ") > 7


def test_of_a_sweep_of_which_nothing_ended_there_is_a_page(tmp_path):
    a_sweep(tmp_path / "s", SMALL, ended=0)
    text = write_page(tmp_path / "s").read_text()
    assert "No trial has finished yet" in text and "interrupted: 0 of 4 trials have ended" in text


def test_a_folder_without_a_summary_is_told(tmp_path):
    with pytest.raises(DataError, match="Name a sweep's folder"):
        write_page(tmp_path)


def test_the_front_is_what_nothing_beats():
    known = ((1, 0.2, "a"), (0.5, 0.5, "b"), (0.4, 0.4, "c"), (0.1, 1, "d"))
    points = [(Spread(x, x, x, 1), Spread(y, y, y, 1), name) for x, y, name in known]
    assert [name for *_, name in on_front(points)] == ["d", "b", "a"]


def work_of(folder, trials, monkeypatch):
    """(function calls of making the page, names of its pictures); files of pictures are not written."""
    names = []
    monkeypatch.setattr("raysafe.report.page.save", lambda plot, folder: names.append(plot.name) or "")
    a_sweep(folder, trials)
    profile = cProfile.Profile()
    profile.runcall(write_page, folder)
    return pstats.Stats(profile).total_calls, names


def test_work_grows_with_the_trials_and_no_faster(tmp_path, monkeypatch):
    """20 and 60 trials, each with a ranking of its own in either: at most three times the work, and as many pictures."""
    few, names = work_of(tmp_path / "few" / "s", combinations(range(1, 11), (80,), ("sft",)), monkeypatch)
    many, others = work_of(tmp_path / "many" / "s", combinations(range(1, 31), (80,), ("sft",)), monkeypatch)
    assert many < 3 * few and names == others


def test_trials_of_two_evaluations_are_in_no_picture_together(tmp_path):
    a_sweep(tmp_path / "two", SMALL)
    rows = read_summary(tmp_path / "two" / "summary.csv")
    marks = ["aaaa" if number % 2 else "bbbb" for number in range(len(rows))]
    marked = [replace(row, figures={**row.figures, "evaluation": mark}) for row, mark in zip(rows, marks, strict=True)]
    write_summary(tmp_path / "two" / "summary.csv", marked)
    text = write_page(tmp_path / "two").read_text()
    assert text.count("evaluated in 2 different ways") >= sum(panel.compares for panel in PANELS) == 5
    assert '<section id="fronts">' not in text and '<section id="training">' in text


@pytest.mark.parametrize("figure", ["kl_depth", "kl_depth_5"])
def test_the_mean_of_two_seeds_in_nats_is_as_unsure_as_their_prompts(figure):
    """Each seed's 32 prompts give +-1, a variance of (1 / t_31)^2 = .240; alike by .7, two seeds have .240 * 1.7 / 2 = .204."""
    known = {figure: 3.0, f"{figure}_low": 2.0, f"{figure}_high": 4.0, "kl_depth_n": 32}
    spread = over_seeds([a_row(seed=seed, **known) for seed in (0, 1)], figure)
    assert 1.95 * 0.204**0.5 < spread.high - 3.0 < 1.1 * 2.04 * 0.204**0.5 and spread.low == pytest.approx(6.0 - spread.high)


def test_a_trial_that_a_guard_stopped_is_in_no_picture_of_comparisons(tmp_path):
    a_sweep(tmp_path / "guarded", SMALL)
    first, *others = read_summary(tmp_path / "guarded" / "summary.csv")
    stopped = replace(first, status="STOPPED", error="guard `utility`: 0.1 [0, 0.2] is below at_least 0.8")
    write_summary(tmp_path / "guarded" / "summary.csv", [stopped, *others])
    data = read_data(tmp_path / "guarded")
    assert len(data.scored) == len(SMALL) == len(data.compared) + 1 and first.trial not in {row.trial for row in data.compared}
