"""The rankings of a sweep beside each other, from selections and configurations as trials leave them."""

import io
from dataclasses import replace

import pandas as pd
import pytest
import tiny
import torch
import yaml
from rich.console import Console

from raysafe.ranking.tables import Ranking, keep_top
from raysafe.report.agreement import differ, matrix
from raysafe.report.ranking_tables import print_diagnosis, print_rankings
from raysafe.report.rankings import SAME_DATA_ONLY, differing, dotted, read_rankings, write_rankings

ROWS = 20


def rows_of(world, labelled=True):
    return [tiny.example(i, response=f"{world} {i}", unsafe=i % 4 == 0 if labelled else None) for i in range(ROWS)]


def bad_rows(count):
    return [replace(tiny.example(ROWS + i, response=f"bad {i}", unsafe=True), planted=True) for i in range(count)]


def trial(folder, name, scores, selector, seed=0, percent=None, world="one", planted=0, **config):
    """What a trial leaves of its ranking."""
    rows = [*rows_of(world, config.pop("labelled", True)), *bad_rows(planted)]
    whole = Ranking.of(rows, [*scores, *[-1.0] * planted], {}, config.pop("warnings", ()))
    keep_top(whole, percent or 80).save(folder / "trials" / name / "selection.parquet")
    plain = {"selector": selector, "selection": {"percent": percent, "file": None}, "seed": seed, "sandbox": {"seed": seed}}
    (folder / "trials" / name / "config.yaml").write_text(yaml.safe_dump({**plain, **config}))


def seal(gamma):
    return {"name": "seal", "gamma": gamma, "epochs": 1}


UP, DOWN = [float(n) for n in range(ROWS)], [float(-n) for n in range(ROWS)]


@pytest.fixture
def folder(tmp_path):
    """Two gammas, one of them for two p's, and a selector that keeps all; three planted rows in one of them."""
    trial(tmp_path, "000", UP, seal(0.1), percent=50, objective={"name": "sft"}, planted=3)
    trial(tmp_path, "001", UP, seal(0.1), percent=80, objective={"name": "dpo"}, planted=3)
    trial(tmp_path, "002", DOWN, seal(0.5), percent=50)
    trial(tmp_path, "003", [0.0] * ROWS, {"name": "none"})
    return tmp_path


def test_each_distinct_ranking_is_told_once_with_what_tells_it_apart(folder):
    report = read_rankings(folder)
    assert [one.name for one in report.rankings] == ["none", "seal gamma=0.1", "seal gamma=0.5"]
    assert [one.trials for one in report.rankings] == [("003",), ("000", "001"), ("002",)]
    assert report.percents == (50, 80) and report.rankings[1].percents == (50, 80)


def test_rankings_csv_has_the_figures_of_each(folder):
    write_rankings(read_rankings(folder))
    table = pd.read_csv(folder / "rankings" / "rankings.csv", dtype={"trials": str}).set_index("ranking")
    assert table["selector.gamma"].tolist()[1:] == [0.1, 0.5] and table["rows"].tolist() == [ROWS] * 3
    assert table["trials"].tolist() == ["003", "000 001", "002"]
    assert table["planted"].tolist() == [0, 3, 0] and table.loc["seal gamma=0.1", "planted_recall_50"] == 1.0
    assert table["planted_recall_50"].isna().tolist() == [True, False, True]
    assert table.loc["none", "auc"] == 0.5 and {f"unsafe_share_{p}" for p in (10, 50, 80, 90)} <= set(table.columns)


def test_overlap_csv_compares_every_pair_on_ds_own_rows(folder):
    """Opposite orders: rank correlation -1; of the kept halves nothing in common; of two kept 80 % 12 rows of 20."""
    write_rankings(read_rankings(folder))
    table = pd.read_csv(folder / "rankings" / "overlap.csv")
    pair = table[(table["first"] == "seal gamma=0.1") & (table["second"] == "seal gamma=0.5")].iloc[0]
    assert (pair["spearman"], pair["jaccard_50"], pair["jaccard_80"], pair["rows"]) == (-1.0, 0.0, 0.6, ROWS)
    assert pair["differ"] == "selector.gamma" and len(table) == 3
    assert table.loc[table["first"] == "none", "spearman"].isna().all()


def test_pictures_are_written_whole_and_one_is_each_trials(folder):
    pictures = write_rankings(read_rankings(folder))
    assert set(pictures) == {"000", "001", "002", "003"} and pictures["000"] == pictures["001"]
    files = {path.name for path in (folder / "rankings").glob("*")}
    assert files == {"rankings.csv", "rankings.md", "overlap.csv", "scores.png", "shares.png", "overlap.png", "each"}
    for path in (*(folder / "rankings").glob("*.png"), *pictures.values()):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_seeds_of_other_worlds_are_not_compared_and_it_is_said(tmp_path):
    for seed in (0, 1):
        trial(tmp_path, f"00{seed}", UP, seal(0.1), seed=seed, world=f"world {seed}")
    report = read_rankings(tmp_path)
    write_rankings(report)
    assert not (tmp_path / "rankings" / "overlap.csv").exists() and not (tmp_path / "rankings" / "overlap.png").exists()
    page = (tmp_path / "rankings" / "rankings.md").read_text()
    assert "2 rankings of 2 data sets: 0 of 1 pairs are comparable" in page and SAME_DATA_ONLY in page
    assert [one.name for one in report.rankings] == ["seal seed=0", "seal seed=1"]


def test_seeds_of_one_world_are_compared(tmp_path):
    for seed in (0, 1):
        trial(tmp_path, f"00{seed}", UP, seal(0.1), seed=seed, sandbox={"seed": 7})
    (pair,) = read_rankings(tmp_path).agreements
    assert pair.differ == ("seed",) and pair.spearman == pytest.approx(1.0) and pair.jaccard == {"80": 1.0}


def test_an_overlap_of_an_earlier_report_does_not_stay(tmp_path):
    trial(tmp_path, "000", UP, seal(0.1))
    (tmp_path / "rankings").mkdir()
    (tmp_path / "rankings" / "overlap.csv").write_text("old")
    write_rankings(read_rankings(tmp_path))
    assert not (tmp_path / "rankings" / "overlap.csv").exists()
    assert "nothing to compare" in (tmp_path / "rankings" / "rankings.md").read_text()


def test_rows_without_labels_are_drawn_too(tmp_path):
    trial(tmp_path, "000", UP, seal(0.1), labelled=False)
    write_rankings(read_rankings(tmp_path))
    assert (tmp_path / "rankings" / "scores.png").exists() and not (tmp_path / "rankings" / "shares.png").exists()


def test_a_selection_from_a_file_is_called_by_its_file(tmp_path):
    trial(tmp_path, "000", UP, seal(0.1), selection={"file": "kept/mine.parquet", "percent": 50})
    assert read_rankings(tmp_path).rankings[0].name == "mine"


def test_two_worlds_that_no_setting_tells_apart_have_names_of_their_own(tmp_path):
    for number in (0, 1):
        trial(tmp_path, f"00{number}", UP, {"name": "loss"}, world=f"world {number}")
    assert [one.name for one in read_rankings(tmp_path).rankings] == ["loss (1)", "loss (2)"]


def test_a_sweep_without_selections_leaves_nothing(tmp_path):
    assert write_rankings(read_rankings(tmp_path)) == {} and not (tmp_path / "rankings").exists()
    print_rankings(read_rankings(tmp_path), Console(quiet=True))


@pytest.mark.training
def test_many_rankings_are_drawn_within_limits(tmp_path):
    for number in range(30):
        trial(tmp_path, f"{number:03}", UP[number % 20 :] + UP[: number % 20], seal(number / 100))
    report = read_rankings(tmp_path)
    assert len(write_rankings(report)) == 30 and len(report.agreements) == 30 * 29 // 2


def printed(print_it, told):
    console = Console(width=160, file=io.StringIO())
    print_it(told, console)
    return " ".join(console.file.getvalue().split())


def test_the_terminal_is_told_of_one_ranking(folder):
    said = printed(print_diagnosis, read_rankings(folder).rankings[1].diagnosis)
    assert "20 rows, 5 of them unsafe; 0 dropped, 3 planted" in said
    assert "unsafe kept" in said and "planted found" in said and "label: safe" in said


def test_the_terminal_is_told_how_rankings_agree(folder):
    said = printed(print_rankings, read_rankings(folder))
    assert "agreement of 3 rankings" in said and "-1.000" in said and "rankings" in said


def test_a_rankings_warnings_reach_the_terminal_and_the_page(tmp_path):
    trial(tmp_path, "000", UP, seal(0.1), warnings=["weights within 1 % [of each other]"])
    trial(tmp_path, "001", DOWN, seal(0.5))
    report, warned = read_rankings(tmp_path), "seal gamma=0.1: weights within 1 % [of each other]"
    write_rankings(report)
    assert report.warnings == [warned] and f"warning: {warned}" in printed(print_rankings, report)
    assert f"**Warning.** {warned}" in (tmp_path / "rankings" / "rankings.md").read_text()
    assert "warning: weights within 1 %" in printed(print_diagnosis, report.rankings[0].diagnosis)


def test_selectors_differ_in_being_two():
    assert differ({"selector.name": "seal", "selector.gamma": 0.1, "seed": 0}, {"selector.name": "loss", "seed": 1}) == (
        "selector.name", "seed",
    )  # fmt: skip


def test_seeds_stand_last_and_the_sandboxs_own_seed_is_not_told():
    settings = [{"seed": n, "sandbox.seed": n, "selector.gamma": n / 10} for n in (0, 1)]
    assert differing(settings) == ["selector.gamma", "seed"]
    assert "sandbox.seed" in differing([{"seed": 0, "sandbox.seed": 1}, {"seed": 0, "sandbox.seed": 2}])


def test_a_matrix_is_symmetric_and_unknown_where_nothing_is_known():
    table = matrix(["a", "b", "c"], {("a", "b"): 0.5, ("b", "c"): None}, 1.0)
    assert table[0, 1] == table[1, 0] == 0.5 and table[1, 2].isnan() and torch.equal(table.diagonal(), torch.ones(3).double())


def test_nested_values_are_dotted():
    assert dotted({"a": {"b": 1, "c": {"d": [2]}}, "e": None}) == {"a.b": 1, "a.c.d": [2], "e": None}
