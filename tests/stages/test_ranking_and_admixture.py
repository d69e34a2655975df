"""What ranks and what is added, from the configuration to the trained rows: a ranking model of its own, dsir, SafeInstr."""

import io

import pandas as pd
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from small import small_trial

from raysafe.artifacts import Store
from raysafe.config.reading import parse_yaml
from raysafe.config.sweeps import make_sweep
from raysafe.data.loading import load_examples
from raysafe.data.references import drawn
from raysafe.errors import ConfigError, DataError
from raysafe.ranking.tables import Ranking
from raysafe.selection import SELECTORS
from raysafe.stages.inputs import find_inputs
from raysafe.stages.making import History, stage_key
from raysafe.stages.rank import RankStage
from raysafe.stages.train import TrainStage
from raysafe.sweep.plan import dry_run
from raysafe.trial import here, run_trial

MODEL_FREE = [name for name, kind in SELECTORS.items() if "model" not in kind.reads]


@pytest.fixture(scope="module")
def other_model(tmp_path_factory):
    """Another model with another chat template."""
    folder = tmp_path_factory.mktemp("other")
    tokenizer = tiny.byte_tokenizer(tiny.CHATML)
    tiny.llama(len(tokenizer), seed=1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One for all, so that what trials share is made once."""
    return Store(tmp_path_factory.mktemp("storage"))


def config(model_folder, **sections):
    return make_sweep(small_trial(model_folder, **sections)).trials[0].config


def walk(trial, store, folder):
    """A trial from end to end in this process, with the stages that it launched."""
    stages = []

    def noting(wanted):
        stages.append(wanted)
        return here(store)(wanted)

    return run_trial(trial, store, folder, noting), stages


def only(kind, stages):
    (stage,) = [stage for stage in stages if isinstance(stage, kind) and stage.label != "proxy"]
    return stage


def refused(text):
    with pytest.raises(ConfigError) as caught:
        make_sweep(parse_yaml("name: test\n" + text, "test"))
    return str(caught.value)


# SafeInstr


def test_admixed_rows_come_behind_the_selected_ones(model_folder, store, tmp_path):
    trial = config(model_folder, selector="random", objective="sft", selection={"safeinstr": 5})
    result, stages = walk(trial, store, tmp_path)
    stage = only(TrainStage, stages)
    data, dropped = stage._data(stage.model.chat())
    assert (result.selected_rows, result.safeinstr_rows) == (26, 5) and result.checkpoint.result["rows"] == {"retain": 31}
    assert tuple(row.index for row in data.rows["retain"][-5:]) == stage.admixture.rows
    assert dropped == {"retain": {}, "safeinstr": {}}


def test_the_admixed_rows_are_written_with_what_identifies_them(model_folder, store, tmp_path):
    trial = config(model_folder, selector="random", objective="sft", selection={"safeinstr": 5})
    walk(trial, store, tmp_path)
    table = pd.read_parquet(tmp_path / "safeinstr.parquet")
    safe = load_examples(find_inputs(trial, store).safe.path)
    assert list(table.columns) == ["row", "content_hash"] and tuple(table["row"]) == drawn(len(safe), 5, 0)
    assert list(table["content_hash"]) == [safe[row].content_hash for row in table["row"]]


def test_no_admixture_leaves_no_file_and_another_key(model_folder, store, tmp_path):
    settings_ = {"selector": "random", "objective": "sft"}
    without, _ = walk(config(model_folder, **settings_), store, tmp_path)
    assert not (tmp_path / "safeinstr.parquet").exists() and without.safeinstr_rows == 0
    mixed, _ = walk(config(model_folder, **settings_, selection={"safeinstr": 1}), store, tmp_path / "mixed")
    more, _ = walk(config(model_folder, **settings_, selection={"safeinstr": 2}), store, tmp_path / "more")
    assert len({result.checkpoint.key for result in (without, mixed, more)}) == 3


def test_selection_and_proxy_know_nothing_of_the_admixture(model_folder, store, tmp_path):
    walks = [walk(config(model_folder, selection={"safeinstr": n}), store, tmp_path / str(n)) for n in (0, 4)]
    proxies = [{stage_key(stage) for stage in stages if stage.label == "proxy"} for _, stages in walks]
    ranks = [stage_key(only(RankStage, stages)) for _, stages in walks]
    assert proxies[0] == proxies[1] and len(proxies[0]) == 1 and ranks[0] == ranks[1]
    assert walks[0][0].unsafe_selected == walks[1][0].unsafe_selected


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 60), data=st.data(), seed=st.integers(0, 9))
def test_a_draw_is_without_replacement_in_order_and_part_of_a_larger_one(rows, data, seed):
    one, other = sorted(data.draw(st.lists(st.integers(0, rows), min_size=2, max_size=2)))
    small, large = drawn(rows, one, seed), drawn(rows, other, seed)
    assert len(set(small)) == one and list(small) == sorted(small) and set(small) <= set(large) <= set(range(rows))


def test_a_draw_is_the_seeds():
    assert drawn(100, 10, 0) == drawn(100, 10, 0) != drawn(100, 10, 1)


def test_more_than_there_are_is_refused_with_both_numbers(model_folder, store):
    with pytest.raises(ConfigError, match=r"`selection.safeinstr`: got 17, but `data.safe` has 16 rows"):
        find_inputs(config(model_folder, selection={"safeinstr": 17}), store)


@pytest.mark.parametrize("selector", ["seal", "dsir"])
def test_what_reads_the_trusted_rows_needs_them(selector):
    said = refused(f"selector: {selector}\nobjective: sft\ndata: {{safe: null}}")
    assert f"`data.safe`: this key is needed by the selector `{selector}`" in said


def test_safeinstr_needs_the_trusted_rows():
    said = refused("selector: none\nobjective: sft\ndata: {safe: null}\nselection: {safeinstr: 3}")
    assert "`data.safe`: this key is needed by `selection.safeinstr` 3" in said


def test_a_negative_admixture_is_refused():
    assert "`selection.safeinstr`: `safeinstr >= 0` must hold, but got -1" in refused("selection: {safeinstr: -1}")


# A ranking model of its own


SHORT_SEAL = {"name": "seal", "epochs": 1, "batch_size": 8, "safe_batch_size": 8}


@pytest.mark.parametrize("selector", ["loss", SHORT_SEAL], ids=["loss", "seal"])
def test_another_models_ranking_is_what_that_model_says_of_the_same_rows(selector, model_folder, other_model, store, tmp_path):
    lent = config(model_folder, selector=selector, objective="sft", selection={"model": {"path": str(other_model)}})
    _, stages = walk(lent, store, tmp_path / "lent")
    _, own = walk(config(other_model, selector=selector, objective="sft"), store, tmp_path / "own")
    assert stage_key(only(RankStage, stages)) == stage_key(only(RankStage, own))
    assert only(TrainStage, stages).model != only(TrainStage, own).model
    tables = [pd.read_parquet(tmp_path / name / "selection.parquet") for name in ("lent", "own")]
    pd.testing.assert_frame_equal(*tables)


def test_rows_keep_their_identity_under_a_ranking_model(model_folder, other_model, store, tmp_path):
    trial = config(model_folder, selector="loss", objective="sft", selection={"model": {"path": str(other_model)}})
    _, stages = walk(trial, store, tmp_path)
    rows = load_examples(find_inputs(trial, store).finetune.path)
    key = stage_key(only(RankStage, stages))
    ranking = Ranking.load(store.artifact("rank", key).folder / "ranking.parquet")
    assert list(ranking.content_hashes) == [row.content_hash for row in rows]


def test_the_ranking_models_adapters_are_its_own(model_folder, other_model, store, tmp_path):
    trial = config(
        model_folder, objective="sft", model={"lora": {"r": 2}}, selection={"model": {"path": str(other_model), "lora": {"r": 4}}}
    )
    _, stages = walk(trial, store, tmp_path)
    assert (only(RankStage, stages).lora.r, only(TrainStage, stages).lora.r) == (4, 2)


@pytest.mark.parametrize("selector", MODEL_FREE)
def test_a_ranking_model_is_refused_where_no_model_ranks(selector):
    said = refused(f"selector: {selector}\nobjective: sft\nselection: {{model: {{path: m}}}}")
    assert "`selection.model`: got 'm'" in said and f"selector `{selector}`, which uses no model" in said and "seal, loss" in said


def test_a_ranking_model_needs_a_path():
    assert "`selection.model.path`: this key is needed" in refused("selection: {model: {lora: {r: 4}}}")


def test_a_missing_ranking_model_is_named_before_anything_starts(model_folder, store):
    with pytest.raises(DataError, match="nowhere"):
        find_inputs(config(model_folder, selection={"model": {"path": "nowhere"}}), store)


def test_a_missing_template_of_the_ranking_model_is_named_by_its_key(model_folder, other_model, store):
    trial = config(model_folder, selection={"model": {"path": str(other_model), "chat_template": "none.jinja"}})
    with pytest.raises(DataError, match=r"`selection.model.chat_template`: none.jinja"):
        find_inputs(trial, store)


# A schedule of gamma's own


def test_a_list_of_gammas_is_what_the_selector_runs_with(model_folder, store, tmp_path):
    selector = {**SHORT_SEAL, "epochs": 2, "schedule": [0.0, 0.3], "algorithm": 1, "optimizer": "adamw_released"}
    _, stages = walk(config(model_folder, selector=selector, objective="sft"), store, tmp_path)
    rows = History.of(store.artifact("rank", stage_key(only(RankStage, stages))))
    assert [metrics["selector/gamma"] for _, metrics in rows] == [0.0, 0.3]


# dsir


def test_dsir_ranks_by_texts_and_leaves_short_rows_out_with_the_reason(model_folder, store, tmp_path):
    trial = config(model_folder, selector={"name": "dsir", "min_words": 25}, objective="sft", selection={"percent": 100})
    result, _ = walk(trial, store, tmp_path)
    table = pd.read_parquet(tmp_path / "selection.parquet")
    short = table[~table["selected"]]
    assert 0 < len(short) < 32 and result.selected_rows == 32 - len(short)
    assert short["reason"].str.contains("fewer than selector.min_words, 25").all()


def test_without_the_library_dsir_is_refused_before_anything_starts(model_folder, store, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "data_selection", None)
    with pytest.raises(ConfigError, match="raysafe\\[dsir\\]"):
        find_inputs(config(model_folder, selector="dsir", objective="sft"), store)


# The plan


def plan(tmp_path, raw):
    console = Console(file=io.StringIO(), width=200)
    dry_run(make_sweep(raw), tmp_path, console)
    return " ".join(console.file.getvalue().split())


def test_the_plan_counts_one_ranking_for_all_percentages_and_two_for_two_ranking_models(model_folder, other_model, tmp_path):
    models = [None, {"path": str(other_model)}]
    grid = {"selection.percent": [20, 50, 80], "selection.model": models}
    said = plan(tmp_path, small_trial(model_folder, objective="sft", sweep={"grid": grid}))
    assert "6 trials" in said and "rank (shared) │ 2 │ 0 │ 8 │ 128" in said, "4 steps of 8 + 8 rows each"


def test_the_plan_makes_the_sandboxs_model_where_it_ranks_for_another(model_folder, tmp_path):
    raw = small_trial(model_folder, objective="sft", selector="loss", selection={"model": {"path": "sandbox"}})
    said = plan(tmp_path, raw)
    assert "base (shared) │ 1" in said and "rank (shared) │ 1 │ 0 │ 0 │ 32" in said


def test_the_plan_counts_theta_hats_passes_and_the_admixed_rows(model_folder, tmp_path):
    """Algorithm 1: 32 rows of D twice and 32 of D_safe. 26 kept and 6 admixed rows, batch 4, 2 epochs: 16 steps."""
    raw = small_trial(model_folder, objective="sft", selector={**SHORT_SEAL, "algorithm": 1}, selection={"safeinstr": 6})
    said = plan(tmp_path, raw)
    assert "rank (shared) │ 1 │ 0 │ 4 │ 96" in said and "train │ 1 │ │ 16 │ 64" in said
