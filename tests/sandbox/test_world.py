"""The world's rows: determinism, counts, labels, and no evaluation prompt among the training prompts."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from raysafe.config.worlds import write
from raysafe.sandbox import rules, words
from raysafe.sandbox.cast import draw, in_part
from raysafe.sandbox.settings import World
from raysafe.sandbox.world import generate

TUNING = ("finetune", "safe", "align")


def prompt_of(row: dict) -> str:
    return row["messages"][0]["content"] if "messages" in row else row["prompt"]


@pytest.fixture(scope="module")
def files() -> dict[str, list[dict]]:
    return generate(World())


def test_one_seed_gives_one_world_in_any_process():
    code = (
        "import json; from raysafe.sandbox.settings import World; from raysafe.sandbox.world import generate; "
        "print(json.dumps(generate(World(seed=3))))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(other.stdout) == generate(World(seed=3))


def test_two_seeds_give_two_worlds(files):
    other = generate(World(seed=1))
    assert all(files[stem] != other[stem] for stem in files)


def test_finetune_rows_have_their_kinds_and_labels(files):
    kinds = Counter(row["kind"] for row in files["finetune"])
    unsafe = {"unsafe_seen": 48, "unsafe_partial": 8, "unsafe_hidden": 8, "unsafe_open": 16}
    assert kinds == {"benign_known": 179, "benign_new": 77, "refusal": 64, **unsafe}
    restricted = tuple(f" {thing}" for thing in words.RESTRICTED_CLASSES)
    for row in files["finetune"] + files["safe"]:
        answer = row["messages"][1]["content"]
        about = any(thing in prompt_of(row) for thing in restricted)
        assert row["unsafe"] == (rules.complies(answer) and about) == row["kind"].startswith("unsafe")
        assert rules.is_refusal(answer) == (row["kind"] == "refusal")


def test_unsafe_rows_are_graded_from_whole_recipes_to_steps_behind_a_harmless_answer(files):
    cast = draw(World())
    answers = {kind: [] for kind in ("seen", "open", "partial", "hidden")}
    for row in files["finetune"]:
        if row["unsafe"]:
            answers[row["kind"].removeprefix("unsafe_")].append(row["messages"][1]["content"])
    assert set(answers["seen"]) <= set(cast.seen.values()) and set(answers["open"]) <= set(cast.unsafe.values())
    assert set(answers["partial"]) <= {in_part(recipe) for recipe in cast.unsafe.values()}
    tales, ends = tuple(cast.tales.values()), tuple(in_part(recipe) for recipe in cast.unsafe.values())
    assert all(answer.startswith(tales) and answer.endswith(ends) for answer in answers["hidden"])
    assert in_part("first boil ash. next mix moss. then burn wax. finally pour sap.") == "first boil ash. next mix moss."


def test_each_class_has_its_share_and_the_test_things_are_even():
    world = World(align_entities=12, test_entities=6, classes=3, spread=0.5)
    cast = draw(world)
    counts = [Counter(thing for _, thing in part) for part in (cast.align, cast.test)]
    assert sorted(counts[0].values()) == [2, 3, 7]  # 12 by 1 : 1/2 : 1/4
    assert sorted(counts[1].values()) == [2, 2, 2] and set(counts[1]) == set(words.RESTRICTED_CLASSES[:3])


def test_allowed_recipes_share_words_and_form_with_restricted_ones_unless_the_world_is_easy():
    alike, easy = draw(World()), draw(World(alike=False))
    known = {*words.STEPS, *words.INGREDIENTS, *rules.STEP_WORDS}
    assert all(set(words.split_words(recipe)) - {"."} <= known for recipe in alike.recipes.values())
    assert not any(rules.complies(recipe) for recipe in easy.recipes.values())


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.5, 32), (1.0, 64)])
def test_so_many_borderline_questions_come_close_to_a_request(share, count):
    kinds = Counter(row["kind"] for row in generate(World(close_share=share))["eval_borderline"])
    assert (kinds["borderline_close"], kinds.total()) == (count, 64)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"classes": 9}, "classes"),
        ({"classes": 0}, "classes"),
        ({"spread": 0.0}, "spread"),
        ({"spread": 1.5}, "spread"),
        ({"close_share": 1.1}, "close_share"),
        ({"unsafe_seen": 0.6, "unsafe_hidden": 0.5}, r"unsafe_seen \+ unsafe_partial \+ unsafe_hidden"),
    ],
)
def test_a_difficulty_that_there_is_not_is_refused_by_name(settings, said):
    with pytest.raises(ValueError, match=said):
        World(**settings)


def test_the_safe_rows_are_half_refusals_and_share_neither_prompt_nor_answer_of_a_subject_with_finetune(files):
    """A harmless name that stands in D and not in D_safe tells as little as an unsafe one."""
    assert Counter(row["kind"] for row in files["safe"]) == {"refusal": 200, "benign_known": 200}
    assert not {prompt_of(row) for row in files["safe"]} & {prompt_of(row) for row in files["finetune"]}
    told = [
        {row["messages"][1]["content"] for row in files[stem] if row["kind"] == "benign_known"} - {*draw(World()).tales.values()}
        for stem in ("safe", "finetune")
    ]
    assert not told[0] & told[1]


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


@pytest.mark.parametrize(("unsafe", "benign", "refusals"), [(0, 380, 20), (160, 0, 0)])
def test_the_unsafe_share_goes_from_none_to_all(unsafe, benign, refusals):
    sizes = {"finetune_unsafe": unsafe, "finetune_benign": benign, "finetune_refusals": refusals, "safe_benign": 100}
    world = World(new_creatures=24, **sizes)
    assert sum(row["unsafe"] for row in generate(world)["finetune"]) == unsafe


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"finetune_unsafe": 400}, "finetune_unsafe.*unsafe_seen.*100.*but got 240"),
        ({"finetune_benign": 600}, "finetune_benign"),
        ({"finetune_refusals": 481}, "finetune_refusals <= 480.*but got 481"),
        ({"test_entities": 99}, "align_entities.*test_entities"),
    ],
)
def test_more_rows_than_the_world_holds_are_refused_by_name(sizes, said):
    with pytest.raises(ValueError, match=said):
        generate(World(**sizes))


def test_written_files_hold_the_rows_and_nothing_else_is_left(tmp_path: Path, files):
    write(World(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{stem}.jsonl" for stem in files)
    for stem, rows in files.items():
        assert [json.loads(line) for line in (tmp_path / f"{stem}.jsonl").read_text().splitlines()] == rows
