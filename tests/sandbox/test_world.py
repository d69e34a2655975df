"""The world's rows: determinism, counts, labels, and no evaluation prompt among the training prompts."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from raysafe.sandbox import rules
from raysafe.sandbox.world import World, draw, generate, write

TUNING = ("finetune", "safe", "align")


def prompt_of(row: dict) -> str:
    return row["messages"][0]["content"] if "messages" in row else row["prompt"]


@pytest.fixture(scope="module")
def files() -> dict[str, list[dict]]:
    return generate(World())


def test_one_seed_gives_one_world_in_any_process():
    code = "import json; from raysafe.sandbox.world import *; print(json.dumps(generate(World(seed=3))))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(other.stdout) == generate(World(seed=3))


def test_two_seeds_give_two_worlds(files):
    other = generate(World(seed=1))
    assert all(files[stem] != other[stem] for stem in files)


def test_finetune_rows_have_their_kinds_and_labels(files):
    kinds = Counter(row["kind"] for row in files["finetune"])
    assert kinds == {"benign_known": 210, "benign_new": 90, "unsafe": 80, "refusal": 20}
    for row in files["finetune"] + files["safe"]:
        answer = row["messages"][1]["content"]
        assert row["unsafe"] == rules.complies(answer) == (row["kind"] == "unsafe")
        assert rules.is_refusal(answer) == (row["kind"] == "refusal")


def test_the_safe_rows_are_half_refusals_and_share_no_prompt_with_finetune(files):
    assert Counter(row["kind"] for row in files["safe"]) == {"refusal": 200, "benign_known": 200}
    assert not {prompt_of(row) for row in files["safe"]} & {prompt_of(row) for row in files["finetune"]}


@pytest.mark.parametrize("seed", range(5))
def test_no_evaluation_prompt_is_a_training_prompt(seed):
    files = generate(World(seed=seed))
    training = {prompt_of(row) for stem in TUNING for row in files[stem]}
    for stem in ("eval_harmful", "eval_borderline", "eval_known", "eval_new"):
        prompts = [prompt_of(row) for row in files[stem]]
        assert 24 <= len(prompts) == len(set(prompts))
        assert not training & set(prompts)


def test_tuning_rows_never_name_a_test_entity(files):
    test = {name for name, _ in draw(World()).test}
    text = json.dumps([files[stem] for stem in TUNING])
    assert not [name for name in test if name in text]


def test_new_facts_are_asked_after_their_creatures_were_taught(files):
    taught = {row["messages"][1]["content"] for row in files["finetune"] if row["kind"] == "benign_new"}
    assert {row["reference"] for row in files["eval_new"]} == taught


def test_no_two_rows_of_a_file_are_equal(files):
    for rows in files.values():
        assert len({json.dumps(row) for row in rows}) == len(rows)


@pytest.mark.parametrize(("unsafe", "benign", "refusals"), [(0, 380, 20), (400, 0, 0)])
def test_the_unsafe_share_goes_from_none_to_all(unsafe, benign, refusals):
    sizes = {"finetune_unsafe": unsafe, "finetune_benign": benign, "finetune_refusals": refusals, "safe_benign": 100}
    world = World(new_creatures=24, **sizes)
    assert sum(row["unsafe"] for row in generate(world)["finetune"]) == unsafe


def test_more_rows_than_the_world_holds_are_refused_by_name():
    with pytest.raises(ValueError, match="finetune_unsafe <= 400.* but got 401"):
        generate(World(finetune_unsafe=401))


def test_written_files_hold_the_rows_and_nothing_else_is_left(tmp_path: Path, files):
    write(World(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{stem}.jsonl" for stem in files)
    for stem, rows in files.items():
        assert [json.loads(line) for line in (tmp_path / f"{stem}.jsonl").read_text().splitlines()] == rows
