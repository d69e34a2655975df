"""The harness on a tiny model and tasks of a few rows in a folder: the accuracy of a plain computation, and no network."""

import copy
import json
import logging
import random
from dataclasses import fields

import pytest
import tiny
import torch
from small import small_trial
from workers import on_workers

from raysafe.artifacts import fingerprint
from raysafe.config.reading import build
from raysafe.config.sweeps import make_sweep
from raysafe.config.written import located
from raysafe.context import local_context
from raysafe.errors import ConfigError, StageError
from raysafe.evaluation.intervals import wilson
from raysafe.evaluation.probes import PROBES, Subject, harness
from raysafe.evaluation.probes.harness import Harness
from raysafe.models.policy import Policy

CHAT = tiny.chat("chatml")
CHOICES = ["open the lid", "first", "how", "help with that"]
ROWS = [{"question": f"How do I open box {n}?", "choices": CHOICES[: 2 + n % 3], "answer": n % 2} for n in range(10)]
TASK = """
task: boxes
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: answer
metric_list: [{metric: acc}]
metadata: {version: 3.0}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tasks, and a cache of data that goes with them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        yield _tasks(tmp_path_factory.mktemp("tasks"))


def _tasks(folder):
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "boxes.yaml").write_text(TASK)
    (folder / "more.yaml").write_text(TASK.replace("task: boxes", "task: crates").replace("metric: acc", "metric: acc_norm"))
    group = "group: all_boxes\ntask: [boxes, crates]\naggregate_metric_list: [{metric: acc, weight_by_size: true}]\n"
    (folder / "group.yaml").write_text(group.replace("[boxes, crates]", "[boxes, boxes_again]"))
    (folder / "again.yaml").write_text(TASK.replace("task: boxes", "task: boxes_again"))
    graded = TASK.replace("task: boxes", "task: graded").replace("metric: acc", "metric: brier_score")
    (folder / "graded.yaml").write_text(graded.replace('"{{choices}}"', '["open", "first"]'))
    return folder


@pytest.fixture(scope="module")
def model():
    return tiny.llama(len(CHAT.tokenizer), seed=4)


def subject(model, context=None):
    return Subject(Policy(copy.deepcopy(model)).eval(), CHAT, [], context or local_context())


def probe(folder, *tasks, **settings):
    return Harness(tasks=tasks, include=str(folder), **{"batch_size": 1, **settings}).found()


def right_ones(model, normalised):
    """The rows that the model gets right: the likeliest choice behind the question, by its length where that is asked for."""
    found = []
    for row in ROWS:
        scores = []
        for choice in row["choices"]:
            start = CHAT.tokenizer(row["question"])["input_ids"]
            ids = CHAT.tokenizer(f"{row['question']} {choice}")["input_ids"]
            with torch.no_grad():
                log_probs = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
            score = sum(float(log_probs[place - 1, ids[place]]) for place in range(len(start), len(ids)))
            scores.append(score / len(choice) if normalised else score)
        found.append(float(scores.index(max(scores)) == row["answer"]))
    return found


@pytest.mark.parametrize(("task", "normalised", "metric"), [("boxes", False, "acc"), ("crates", True, "acc_norm")])
def test_its_accuracy_is_that_of_a_plain_computation(folder, model, task, normalised, metric):
    reading = probe(folder, task).read(subject(model))
    expected = right_ones(model, normalised)
    assert reading.rates == {f"utility_{task}": wilson(sum(expected), 10)} and 0 < sum(expected) < 10
    assert [value.value for value in reading.values] == expected
    assert {(value.variant, value.source) for value in reading.values} == {(task, task)}
    assert len({value.content_hash for value in reading.values}) == 10
    assert reading.notes[task] == f"{metric} (none), version 3.0, 0-shot, 10 rows"


def test_a_group_has_the_figure_that_the_harness_gives_it(folder, model):
    rates = probe(folder, "all_boxes").read(subject(model)).rates
    assert rates == {"utility_all_boxes": wilson(2 * sum(right_ones(model, False)), 20)}


def test_only_the_first_rows_are_asked_where_there_is_a_limit(folder, model):
    assert probe(folder, "boxes", limit=4).read(subject(model)).rates == {
        "utility_boxes": wilson(sum(right_ones(model, False)[:4]), 4)
    }


def test_two_workers_score_what_one_scores(folder, model):
    one = probe(folder, "boxes")
    alone = one.read(subject(model))
    assert on_workers(2, lambda context: one.read(subject(model, context))) == [alone, alone]


def test_nothing_of_the_process_is_left_changed_and_nothing_is_told(folder, model, capfd):
    random.seed(5)
    state, torch_state, level = random.getstate(), torch.get_rng_state(), logging.getLogger("lm_eval").level
    probe(folder, "boxes", limit=2).read(subject(model))
    assert random.getstate() == state and torch.equal(torch.get_rng_state(), torch_state)
    assert logging.getLogger("lm_eval").level == level and capfd.readouterr() == ("", "")


def test_a_task_without_an_accuracy_is_told(folder, model):
    with pytest.raises(StageError, match="graded tells brier_score, but a task is taken that tells one of acc_norm, acc, exact"):
        probe(folder, "graded").read(subject(model))


def test_data_that_is_not_there_is_told_with_what_to_do(folder, model, tmp_path):
    (tmp_path / "lost.yaml").write_text(TASK.replace("rows.jsonl", "nowhere.jsonl"))
    with pytest.raises(StageError, match="boxes: can't be loaded: .*name a folder of task files with local data in `include`"):
        probe(tmp_path, "boxes").read(subject(model))


def test_its_key_holds_the_content_of_the_files_and_the_librarys_version(folder, tmp_path):
    for name in ("rows.jsonl", "boxes.yaml"):
        (tmp_path / name).write_text((folder / name).read_text())
    one = fingerprint(probe(tmp_path, "boxes"))
    assert fingerprint(probe(tmp_path, "boxes", limit=3)) != one
    (tmp_path / "moved").mkdir()
    for name in ("rows.jsonl", "boxes.yaml"):
        (tmp_path / "moved" / name).write_text((tmp_path / name).read_text())
    assert fingerprint(probe(tmp_path / "moved", "boxes")) == one
    (tmp_path / "moved" / "rows.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    assert fingerprint(probe(tmp_path / "moved", "boxes")) != one
    assert probe(folder, "boxes").library


def test_data_outside_the_folder_is_part_of_it(tmp_path):
    (tmp_path / "rows.jsonl").write_text("{}\n")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "boxes.yaml").write_text(TASK.replace("rows.jsonl", "../rows.jsonl"))
    before = probe(tmp_path / "tasks", "boxes").files
    (tmp_path / "rows.jsonl").write_text('{"question": "?"}\n')
    harness.content_of.cache_clear()
    assert probe(tmp_path / "tasks", "boxes").files != before


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"tasks": ["boxs"]}, r"`evaluation.probes.harness.tasks`: got 'boxs', which lm-eval .* Did you mean boxes"),
        ({"tasks": ["boxes"], "include": "nowhere"}, "`evaluation.probes.harness.include`: nowhere: no such folder"),
    ],
    ids=str,
)
def test_what_is_not_there_is_told_before_anything_starts(folder, settings, told, monkeypatch):
    monkeypatch.setattr(harness, "every_name", lambda folder: frozenset())  # which takes seconds
    with pytest.raises(ConfigError, match=told):
        build(Harness, {"include": str(folder), **settings}, "evaluation.probes.harness", []).found()


def test_without_the_package_it_says_what_to_install(folder, monkeypatch):
    def missing(name):
        raise harness.PackageNotFoundError(name)

    monkeypatch.setattr(harness, "version", missing)
    with pytest.raises(ConfigError, match=r"needs the package lm-eval: pip install 'raysafe\[harness\]'"):
        probe(folder, "boxes")


def test_what_the_library_brings_is_known_without_importing_it():
    assert {"mmlu", "hellaswag", "gsm8k"} <= harness.library_names()


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"tasks": ()}, "tasks names at least one"), ({"tasks": ("a", "a")}, "tasks are all different"),
        ({"tasks": ("a",), "limit": 0}, "limit > 0"), ({"tasks": ("a",), "fewshot": -1}, "fewshot >= 0"),
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(settings, rule):
    with pytest.raises(ValueError, match=rule):
        Harness(**settings)


def test_it_is_a_probe_like_the_others():
    assert PROBES["harness"] is Harness and not Harness.needs_harmful and Harness.alone
    assert {item.name for item in fields(Harness) if not item.init} == {"library", "files"}


def test_a_folder_is_taken_from_where_the_configuration_lies(model_folder, tmp_path):
    raw = small_trial(model_folder, objective="sft", evaluation={"probes": {"harness": {"tasks": ["a"], "include": "tasks"}}})
    moved = located(make_sweep(raw).trials[0].config, tmp_path)
    assert moved.evaluation.probes["harness"]["include"] == str(tmp_path / "tasks")
