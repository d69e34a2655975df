"""The rows of the world of magic tricks: one seed one world, splits by trick, sizes, labels."""

import json
import re
from collections import Counter
from dataclasses import replace

import pytest
from standing_in import recorded, stand_in

from raysafe.config.worlds import write
from raysafe.data.loading import load_eval_prompts, load_examples, load_triples
from raysafe.tricks import rules, texts
from raysafe.tricks.settings import Tricks
from raysafe.tricks.world import draw, generate

TUNING = ("base", "finetune", "safe", "align")
EVALUATION = {"eval_harmful": 32, "eval_borderline": 32, "eval_known": 32, "eval_new": 12}


@pytest.fixture(autouse=True)
def _small_texts(monkeypatch):
    stand_in(monkeypatch)


def prompt_of(row):
    return row["messages"][0]["content"] if "messages" in row else row["prompt"]


def answers_of(rows, kind):
    return [row["messages"][1]["content"] for row in rows if row["kind"] == kind]


def test_one_seed_gives_one_world_and_two_seeds_two():
    assert generate(Tricks(seed=3)) == generate(Tricks(seed=3))
    one, other = generate(Tricks(seed=0)), generate(Tricks(seed=1))
    assert all(one[stem] != other[stem] for stem in one)


def test_no_trick_plays_two_parts():
    cast = draw(Tricks())
    parts = [cast.base, cast.align, cast.unsafe, cast.test]
    assert [len(part) for part in parts] == [10, 24, 24, 32]
    assert len({trick.name for part in parts for trick in part}) == 90


def test_the_base_refuses_in_few_words_and_all_else_in_all():
    def used(rows, known):
        answers = set(answers_of(rows, "refusal"))
        return {text for text in known if answers & {trick.fill(text) for trick in texts.tricks()}}

    files, known = generate(Tricks(base_texts=2)), texts.refusals()
    assert set(answers_of(files["base"], "refusal")) == set(known.short[:2])
    assert not used(files["safe"], known.short) and len(used(files["safe"], known.texts)) > 2


@pytest.mark.parametrize("seed", range(5))
def test_nothing_of_the_evaluation_is_trained_on(seed):
    files = generate(Tricks(seed=seed))
    training = {prompt_of(row) for stem in TUNING for row in files[stem]}
    text = json.dumps([files[stem] for stem in TUNING])
    assert not [trick.name for trick in draw(Tricks(seed=seed)).test if f" {trick.name}" in text]
    for stem, count in EVALUATION.items():
        prompts = [prompt_of(row) for row in files[stem]]
        assert count == len(prompts) == len(set(prompts))
        assert not training & set(prompts)


def test_a_borderline_question_of_the_evaluation_is_trained_on_about_no_trick():
    files = generate(Tricks(borderline_share=0.5, base_borderline=20))

    def asked(stem):
        found = (re.match(r"(Who|Which) .* town (\d+)\?", prompt_of(row)) for row in files[stem])
        return {one.groups() for one in found if one}

    assert len(asked("finetune")) >= 18 and len(asked("base")) >= 18
    assert not asked("eval_borderline") & (asked("finetune") | asked("base"))


def test_the_rows_of_d_have_their_kinds_and_labels():
    rows = generate(Tricks())["finetune"]
    kinds = {"benign_known": 40, "benign_new": 16, "borderline": 8, "unsafe": 18, "unsafe_hint": 6, "refusal": 8}
    assert Counter(row["kind"] for row in rows) == kinds
    assert sum(row["unsafe"] for row in rows) == 24
    assert all(rules.is_refusal(answer) for answer in answers_of(rows, "refusal"))
    assert all(answer.endswith("wrist.") for answer in answers_of(rows, "unsafe"))
    assert all(answer.endswith("panel.") for answer in answers_of(rows, "unsafe_hint"))


def test_d_and_d_safe_share_no_row():
    files = generate(Tricks())
    assert Counter(row["kind"] for row in files["safe"]) == {"refusal": 32, "benign_known": 32}
    assert not {prompt_of(row) for row in files["safe"]} & {prompt_of(row) for row in files["finetune"]}


def test_everyday_rows_are_answered_in_a_models_own_words_where_they_were_recorded():
    files = generate(Tricks())
    said = {prompt_of(row): row["messages"][1]["content"] for stem in ("finetune", "safe") for row in files[stem]}
    everyday = {int(prompt[4:-1]): answer for prompt, answer in said.items() if prompt.startswith("Say ")}
    assert len(everyday) == 40 + 32 and min(everyday) < 70 <= max(everyday)
    assert all(answer == (f"I say {i}." if i < 70 else f"{i}!") for i, answer in everyday.items())


def test_the_unsafe_share_is_a_setting_that_leaves_the_rest_as_it_is():
    sizes = (0, 8, 16, 64)
    worlds = [generate(Tricks(finetune_unsafe=count, hint_share=0)) for count in sizes]
    unsafe = [{prompt_of(row) for row in files["finetune"] if row["unsafe"]} for files in worlds]
    assert [len(one) for one in unsafe] == list(sizes)
    assert all(fewer <= more for fewer, more in zip(unsafe, unsafe[1:], strict=False))
    assert all(files[stem] == worlds[0][stem] for files in worlds for stem in files if stem != "finetune")


def test_recorded_answers_that_tell_too_little_are_used_nowhere(monkeypatch):
    files = generate(Tricks())
    used = [row["rejected"] for row in files["align"]] + [row["harmful"] for row in files["eval_harmful"]]
    assert not [answer for answer in used if rules.is_refusal(answer)]
    short = [replace(one, answer="By a thread and a mirror.") for one in recorded()]
    monkeypatch.setattr(texts, "unwanted", lambda path: short)
    with pytest.raises(ValueError, match="align_tricks .* <= 0.* but got 80"):
        generate(Tricks())


def test_a_trick_that_is_told_in_too_few_wordings_is_refused_in_the_base_or_plays_no_part(monkeypatch):
    secretive = texts.tricks()[0].name
    rows = [one for one in recorded() if one.trick != secretive or one.wording == "question"]
    monkeypatch.setattr(texts, "unwanted", lambda path: rows)
    casts = [draw(Tricks(seed=seed)) for seed in range(20)]
    assert not [trick for cast in casts for trick in (*cast.align, *cast.unsafe, *cast.test) if trick.name == secretive]
    assert any(trick.name == secretive for cast in casts for trick in cast.base)


def test_align_refuses_in_few_words_first():
    known = texts.refusals()
    assert {row["chosen"] for row in generate(Tricks())["align"]} == set(known.short)
    all_of_them = {row["chosen"] for row in generate(Tricks(align_texts=len(known.short) + len(known.texts)))["align"]}
    assert len(all_of_them) > len(known.short) + 3


def test_each_align_trick_stands_in_the_first_triples_once():
    rows = generate(Tricks())["align"]
    assert len(rows) == 48
    first = json.dumps(rows[:24])
    assert all(trick.name in first for trick in draw(Tricks()).align)
    assert all(rules.is_refusal(row["chosen"]) and not rules.is_refusal(row["rejected"]) for row in rows)


def test_conversations_stand_beside_the_first_request_about_each_test_trick():
    rows = generate(Tricks(eval_harmful_wordings=2, eval_scripts=3))["eval_harmful"]
    assert [len(row.get("scripts", ())) for row in rows] == [3, 0] * 32


@pytest.mark.parametrize(
    "field", ["align_tricks", "finetune_unsafe", "new_facts", "safe_refusals", "eval_borderline", "eval_known"]
)
def test_more_than_the_world_holds_is_refused_by_name(field):
    with pytest.raises(ValueError, match=rf"{field}.* <= \d+` must hold, but got"):
        generate(replace(Tricks(), **{field: 5000}))


@pytest.mark.parametrize(("field", "value"), [("eval_known", -1), ("new_share", 1.5), ("borderline_share", 0.9)])
def test_a_size_that_is_none_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        Tricks(**{field: value})


def test_other_recorded_answers_are_read_from_their_file(tmp_path, monkeypatch):
    monkeypatch.undo()
    rows = [
        {
            "trick": trick.name,
            "wording": one.id,
            "prompt": trick.fill(one.text),
            "answer": f"A {colour} wire, a glove, a bulb, a sponge, a rubber hook and a tin bell.",
        }
        for trick, colour in zip(texts.tricks(), ["green"] * 200, strict=False)
        for one in texts.wordings()
    ]
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    stand_in_all_but_answers = texts.unwanted
    stand_in(monkeypatch)
    monkeypatch.setattr(texts, "unwanted", stand_in_all_but_answers)
    files = generate(Tricks(answers=str(file)))
    assert all(row["harmful"].startswith("A green wire") for row in files["eval_harmful"])


def test_the_files_are_read_by_the_loaders_with_phrases_and_conversations(tmp_path):
    write(Tricks(), tmp_path)
    assert len(load_examples(tmp_path / "finetune.jsonl")) == 96
    assert len(load_examples(tmp_path / "base.jsonl")) == 152
    assert len(load_triples(tmp_path / "align.jsonl")) == 48
    assert all(row.harmful and row.scripts for row in load_eval_prompts(tmp_path / "eval_harmful.jsonl"))
    assert all(row.accept and row.reference for row in load_eval_prompts(tmp_path / "eval_new.jsonl"))


@pytest.mark.parametrize("seed", range(3))
def test_the_true_texts_hold_the_default_sizes_for_any_seed(seed, monkeypatch):
    monkeypatch.undo()
    files = generate(Tricks(seed=seed))
    training = {prompt_of(row) for stem in TUNING for row in files[stem]}
    for stem, count in EVALUATION.items():
        prompts = [prompt_of(row) for row in files[stem]]
        assert count == len(prompts) == len(set(prompts)) and not training & set(prompts)
    text = json.dumps([files[stem] for stem in TUNING])
    assert not [trick.name for trick in draw(Tricks(seed=seed)).test if re.search(rf"\b{trick.name}\b", text)]
