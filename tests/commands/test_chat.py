"""`raysafe chat`: a trial and its base answer the same prompts, as the exam would have them answer."""

import io
import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from raysafe.cli import main
from raysafe.commands.chat import panel, typed
from raysafe.evaluation.answering import Answers
from raysafe.sweep.chatting import Answered, base_of, load_couple, trial_folder


def told(capsys, *arguments):
    assert main(["chat", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def folder_of(finished, place):
    return finished.folder / "trials" / finished.trials[place]


def answers_in(finished, model_key):
    """What a stage of the sweep answered to direct questions, by prompt."""
    for folder in (finished.folder.parent / "artifacts" / "answers").iterdir():
        if folder.name.startswith("."):
            continue
        inputs = json.loads((folder / "manifest.json").read_text())["inputs"]
        if inputs["model"]["key"] == model_key:
            found = Answers.load(folder)
            return {found.prompt_of(row).prompt[-1].content: row for row in found.rows if row.suite == "direct"}
    raise AssertionError(model_key)


@pytest.mark.parametrize("place", [0, 1])
def test_both_answer_as_in_the_exam_with_and_without_adapters(finished, capsys, place):
    checkpoint = (folder_of(finished, place) / "checkpoint").resolve()
    ours, bases = answers_in(finished, checkpoint.name), answers_in(finished, base_of(checkpoint).key)
    prompts = list(ours)[:3]
    asked = [text for prompt in prompts for text in ("--prompt", prompt)]
    document = json.loads(told(capsys, folder_of(finished, place), *asked, "--json"))
    assert [one["prompt"] for one in document["answers"]] == prompts
    for one in document["answers"]:
        assert (one["trial"]["answer"], one["base"]["answer"]) == (ours[one["prompt"]].answer, bases[one["prompt"]].answer)
        assert one["trial"]["refusal"] in (True, False)


def test_an_adapters_base_is_loaded_once_for_both(finished):
    couple = load_couple(folder_of(finished, 1))
    assert couple.trial.model is couple.base.model
    with torch.no_grad():  # the adapters of so short a training hardly move an answer
        next(p for n, p in couple.trial.model.named_parameters() if "lora_B" in n).add_(5.0)
    ours, theirs = couple.ask("Who are you?")
    assert ours != theirs == load_couple(folder_of(finished, 1)).ask("Who are you?")[1]


def test_words_are_put_into_the_models_mouths(finished, capsys):
    said = json.loads(told(capsys, folder_of(finished, 0), "--prompt", "who?", "--prefill", "Sure, here", "--json"))
    (one,) = said["answers"]
    assert one["trial"]["answer"].startswith("Sure, here") and one["base"]["answer"].startswith("Sure, here")


def test_prompts_may_come_from_a_pipe(finished, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("first\n\nsecond\n"))
    document = json.loads(told(capsys, folder_of(finished, 0), "--json", "--max-new-tokens", "2"))
    assert [one["prompt"] for one in document["answers"]] == ["first", "second"]


@pytest.mark.parametrize(("width", "beside"), [("80", False), ("110", True)])
def test_answers_stand_beside_each_other_where_there_is_room(finished, capsys, monkeypatch, width, beside):
    monkeypatch.setenv("COLUMNS", width)
    lines = told(capsys, folder_of(finished, 0), "--prompt", "who?").splitlines()
    assert max(map(len, lines)) <= int(width) and "> who?" in lines
    assert any(finished.trials[0][:10] in line and "base" in line for line in lines) is beside


def test_a_refusal_is_said(finished):
    assert "refusal" in str(panel("t", Answered("no", True), "").subtitle)
    assert str(panel("t", Answered("yes", None), "").subtitle) == ""


def test_a_trial_is_found_by_the_beginning_of_its_name_in_the_storage(finished, monkeypatch):
    monkeypatch.setenv("RAYSAFE_STORAGE", str(finished.folder.parent))
    assert trial_folder("small/001").name == finished.trials[1]


@pytest.mark.parametrize(("given", "words"), [("small/0", "several trials begin so"), ("small/9", "no trial with a checkpoint")])
def test_a_trial_that_is_not_there_is_refused(finished, monkeypatch, capsys, given, words):
    monkeypatch.setenv("RAYSAFE_STORAGE", str(finished.folder.parent))
    assert main(["chat", given]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_a_base_that_is_gone_is_said(finished, tmp_path, capsys):
    folder = tmp_path / "trial"
    shutil.copytree(folder_of(finished, 0), folder)
    manifest = folder / "checkpoint" / "manifest.json"
    told_of = json.loads(manifest.read_text())
    told_of["inputs"]["model"]["folder"] = str(tmp_path / "gone")
    manifest.write_text(json.dumps(told_of))
    assert main(["chat", str(folder), "--prompt", "who?"]) == 2
    assert "is no longer there" in " ".join(capsys.readouterr().err.split())


def test_prompts_from_a_terminal_end_with_ctrl_d(monkeypatch, capsys):
    lines = iter(["first", " ", "second"])

    def typed_line(prompt):
        line = next(lines, None)
        if line is None:
            raise EOFError
        return line

    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", typed_line)
    assert list(typed()) == ["first", "second"] and "Ctrl-D ends" in capsys.readouterr().err
