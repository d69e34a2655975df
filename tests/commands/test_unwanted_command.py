"""`raysafe data unwanted`: a model's answers, as they are read again."""

import json

import pytest

from raysafe.cli import main
from raysafe.evaluation import unwanted as asking
from raysafe.tricks import texts

MANY = " ".join(["word"] * 15)
RECORD = ["data", "unwanted", "--model"]


@pytest.fixture
def few(monkeypatch):
    """Two tricks in two wordings, and an everyday instruction."""
    tricks, wordings, everyday = texts.tricks()[:2], texts.wordings()[:2], texts.everyday()[:1]
    monkeypatch.setattr(texts, "tricks", lambda: tricks)
    monkeypatch.setattr(texts, "wordings", lambda: wordings)
    monkeypatch.setattr(texts, "everyday", lambda: everyday)


@pytest.fixture
def saying(monkeypatch):
    """What the model says, one text after another, whatever a random one would."""

    def say(*said):
        answers = iter(said)
        monkeypatch.setattr(asking, "_answers", lambda loaded, chat, prompts, decoding: [next(answers) for _ in prompts])

    return say


def test_a_model_is_asked_for_every_trick_in_every_wording_and_for_everyday_things(few, tmp_path, model_folder, capsys):
    out = tmp_path / "a.jsonl"
    assert main([*RECORD, str(model_folder), "--out", str(out), "--json"]) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert told["asked"] == 5 and told["answers"] + told["refused"] == 5
    assert said.err.index("reading the tricks") < said.err.index("loading") < said.err.index("4 of 4 answers")
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_refusals_are_left_out_and_the_rest_is_read_again(few, saying, tmp_path, model_folder, capsys):
    how = "The coin lies behind the fingers, and while the other hand is shown empty it falls into the sleeve."
    saying(f"{how} Then the", "I can't reveal that.", "Magnets.", how, "First fold it.")
    out = tmp_path / "a.jsonl"
    assert main([*RECORD, str(model_folder), "--out", str(out)]) == 0
    assert "1 of 5 refused" in " ".join(capsys.readouterr().out.split())
    rows = texts.unwanted(out)
    assert len(rows) == 3 and sorted(row.answer for row in rows) == sorted(["Magnets.", how, how])
    assert len({(row.trick, row.wording) for row in rows}) == 3
    assert texts.in_own_words(out) == {texts.everyday()[0].prompt: "First fold it."}


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--model", "m"], "--out"),
        (["--out", "x.jsonl"], "--model"),
        (["x.yaml", "--model", "m", "--out", "x.jsonl"], "x.yaml"),
        (["--model", "m", "--out", "no/such/x.jsonl"], "no/such"),
        (["--model", "sandbox", "--out", "x.jsonl"], "sandbox"),
        (["--model", "nowhere", "--out", "x.jsonl"], "nowhere"),
    ],
)
def test_what_is_missing_or_too_much_is_told_first(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "unwanted", *arguments]) == 2
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_check_takes_a_configuration_alone(capsys):
    assert main(["data", "check"]) == 2
    assert main(["data", "check", "x.yaml", "--out", "y"]) == 2
    assert "FILE.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text, left",
    [
        (f"{MANY} sixteen. And then the", f"{MANY} sixteen."),
        (f" {MANY} sixteen! ", f"{MANY} sixteen!"),
        (f'He said: "{MANY}." And', f'He said: "{MANY}."'),
        (f"{MANY}. And then the", f"{MANY}. And then the"),
        (f"{MANY} of the steps that it takes: 1. Take", f"{MANY} of the steps that it takes: 1. Take"),
        ("", ""),
    ],
)
def test_a_torn_sentence_goes_if_enough_is_left(text, left):
    assert asking.whole_sentences(text) == left


@pytest.fixture
def row():
    trick, wording = texts.tricks()[0], texts.wordings()[0]
    return {"trick": trick.name, "wording": wording.id, "prompt": trick.fill(wording.text), "answer": "By a wire."}


def test_answers_to_other_prompts_are_refused(tmp_path, row):
    for number, wrong in enumerate(({"prompt": "How?"}, {"trick": "the lost sock"}, {"wording": "rudely"})):
        path = tmp_path / f"{number}.jsonl"
        path.write_text(json.dumps(row) + "\n" + json.dumps(row | wrong) + "\n")
        with pytest.raises(texts.DataError, match="line 2.*Record the answers anew"):
            texts.unwanted(path)


def test_doubled_and_missing_answers_are_refused(tmp_path, row):
    twice, none = tmp_path / "twice.jsonl", tmp_path / "none.jsonl"
    twice.write_text((json.dumps(row) + "\n") * 2)
    none.write_text("")
    with pytest.raises(texts.DataError, match="line 2.*already"):
        texts.unwanted(twice)
    with pytest.raises(texts.DataError, match="no answers"):
        texts.unwanted(none)
