"""The list of figures: a new one is one line, and stands wherever trials are told."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from raysafe.report.figures import FIGURES, Figure, figures_of, tracked
from raysafe.report.means import aggregate
from raysafe.report.summary import read_summary, write_summary
from raysafe.report.table import make_grid, markdown_table

from .rows import a_row

NEW = [
    (Figure("asr_prefill_5", "ASR at 5", average="interval"), 1.0, "eval/asr_prefill_5"),
    (Figure("steps", "steps", source="result", unit="rows"), 12, "steps"),
    (Figure("waited_s", "waited", source="record", unit="s"), 2.5, None),
    (Figure("idle_s", "idle", source="record", unit="s", metric="seconds/idle"), 1.5, "seconds/idle"),
    (Figure("like", "like", source="result", unit="text"), "000-a", None),
]


@pytest.fixture(params=NEW, ids=lambda case: case[0].name)
def new(request: pytest.FixtureRequest) -> Iterator[tuple[Figure, object, str | None]]:
    """A figure more, its value in one trial, and its name for the tracker."""
    FIGURES.append(request.param[0])
    yield request.param
    FIGURES.remove(request.param[0])


def known(figure: Figure, value: object) -> dict[str, object]:
    """All that is known of a trial that has the value where the figure is looked for."""
    held = {source: {figure.name: value} if figure.source == source else {} for source in ("scores", "result", "record")}
    return figures_of(held["scores"], SimpleNamespace(**held["result"]), held["record"])


def test_it_is_read_from_where_it_comes(new: tuple[Figure, object, str | None]) -> None:
    figure, value, _ = new
    assert known(figure, value)[figure.name] == value


def test_it_has_its_column_in_the_summary_and_is_read_back(new: tuple[Figure, object, str | None], tmp_path: Path) -> None:
    figure, value, _ = new
    write_summary(tmp_path / "summary.csv", [a_row(**{figure.name: value})])
    assert figure.name in (tmp_path / "summary.csv").read_text().splitlines()[0].split(",")
    assert read_summary(tmp_path / "summary.csv")[0].figures[figure.name] == value


def test_it_has_its_column_in_both_tables(new: tuple[Figure, object, str | None]) -> None:
    figure, value, _ = new
    rows = [a_row(**{figure.name: value})]
    assert make_grid(rows).columns[figure.title] == (figure.text(value),)
    assert f" {figure.title} |" in markdown_table(rows)


def test_it_is_averaged_over_seeds_and_a_text_is_not(new: tuple[Figure, object, str | None]) -> None:
    figure, value, _ = new
    (mean,) = aggregate([a_row(seed=seed, **{figure.name: value}) for seed in (0, 1)])
    assert mean.figures.get(figure.name) == (None if figure.unit == "text" else value)


def test_it_is_a_metric_for_the_tracker(new: tuple[Figure, object, str | None]) -> None:
    figure, value, name = new
    told = tracked(known(figure, value))
    assert told == ({name: value} if name else {})


def test_intervals_variants_and_further_judges_are_told_to_the_tracker_too() -> None:
    values = {"asr_prefill_3": 0.5, "utility_low": 0.25, "sandbox/utility": 1, "selected_rows": 7, "epochs": 4, "same_as": "a"}
    assert tracked(values) == {"eval/asr_prefill_3": 0.5, "eval/utility_low": 0.25, "eval/sandbox/utility": 1, "selected_rows": 7}


def test_seconds_are_told_by_stage_and_have_no_column_in_tables() -> None:
    values = {"wall_s": 2.0, "seconds_rank": 1.5, "seconds_saved": 0.5, "same_as": "000-a"}
    assert tracked(values) == {"seconds/wall": 2.0, "seconds/rank": 1.5, "seconds/saved": 0.5}
    assert make_grid([a_row(**values)]).columns == make_grid([a_row()]).columns


def test_what_a_result_does_not_know_is_no_figure() -> None:
    assert "ranking_auc" not in figures_of({}, SimpleNamespace(ranking_auc=None, selected_rows=3), {})
    assert figures_of({}, None, {"epochs": 2}) == {"epochs": 2}


def test_no_two_figures_share_a_name_or_a_title() -> None:
    titles = [figure.title for figure in FIGURES if figure.title]
    assert len(titles) == len(set(titles)) and len(FIGURES) == len({figure.name for figure in FIGURES})


@pytest.mark.parametrize("name", [figure.name for figure in FIGURES])
def test_every_figure_is_documented(name: str) -> None:
    assert f"`{name}`" in (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("module", ["table", "summary", "means", "figures"])
def test_tables_of_trials_need_no_large_library(module: str) -> None:
    """`raysafe report` on a folder without a summary is a matter of a moment."""
    asked = f"import sys, raysafe.report.{module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "pandas", "numpy", "matplotlib", "pyarrow", "ray", "mlflow", "pydantic"} & set(loaded)
