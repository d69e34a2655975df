"""A served model's answers as a stage: kept like any others, judged like any others, and no key in any file."""

import json

import pytest
from endpoints import KEY, FakeServer

from raysafe.artifacts import Store
from raysafe.cli import main
from raysafe.config.sections import EvaluationSettings
from raysafe.context import local_context
from raysafe.data.loading import load_eval_prompts
from raysafe.data.records import dataset_fingerprint
from raysafe.data.references import DataRef
from raysafe.evaluation.exam import exam_of
from raysafe.evaluation.served import served_model
from raysafe.stages.answers import AnswersRef
from raysafe.stages.making import Here
from raysafe.stages.served import ServedAnswersStage
from raysafe.training.engine import PlainEngine
from raysafe.trial import judge_all

FAST = {"backoff_s": 0.001, "key_env": "HOUSE_KEY"}


def test_a_served_model_is_asked_judged_and_asked_no_more(tmp_path, monkeypatch):
    monkeypatch.setenv("HOUSE_KEY", KEY)
    path = tmp_path / "harmful.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"How {n}?"}) + "\n" for n in range(4)))
    data = {"harmful": DataRef(dataset_fingerprint(load_eval_prompts(path)), str(path))}
    exam = exam_of(EvaluationSettings("h.jsonl", attacks={"direct": {}}, served=FAST), data)
    launch = Here(Store(tmp_path / "store"), local_context(), PlainEngine)
    with FakeServer(
        key=KEY, answer=lambda asked: "I can't." if asked == "How 0?" else "Like this.", faults=["dropped"]
    ) as server:
        for _ in range(2):
            answers = AnswersRef.of(
                launch(ServedAnswersStage(served_model(f"openai:m@{server.url}", FAST, 8, None), exam.suites)).wait()
            )
        assert server.done == {f"How {n}?": 1 for n in range(4)}
    assert judge_all(answers, exam, answers, launch).metrics["asr_direct"].value == 0.75
    assert (tmp_path / "store" / "artifacts" / "completions" / "completions.sqlite").exists()
    assert not [one for one in tmp_path.rglob("*") if one.is_file() and KEY.encode() in one.read_bytes()]


SANDBOX = (
    "name: small\nmodel: {path: sandbox}\ndata: {finetune: sandbox, safe: sandbox, align: sandbox}\n"
    "evaluation: {harmful: sandbox, probes: {}}\n"
)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["openai:m@http://127.0.0.1:9/v1"], "`evaluation.attacks.prefill`"),
        (["openai:m@http://127.0.0.1:9/v1", "--set", "evaluation.probes={depth: {}}"], "`evaluation.probes.depth`"),
        (["openai:m"], "openai:MODEL@URL"),
        (["openai:m@http://127.0.0.1:9/v1", "--set", f"evaluation.served.api_key={KEY}"], "`evaluation.served.api_key`"),
        (["openai:m@http://127.0.0.1:9/v1", "--set", "evaluation.served.key_env=NO_SUCH_KEY"], "$NO_SUCH_KEY is not set"),
        (["sandbox", "--tokenizer", "x"], "--tokenizer is for a served model"),
    ],
)
def test_what_can_not_be_is_said_before_anything_starts(tmp_path, capfd, arguments, said):
    file = tmp_path / "small.yaml"
    file.write_text(SANDBOX)
    model, *more = arguments
    assert main(["evaluate", model, str(file), *more, "--storage", str(tmp_path / "runs")]) == 2
    out, told = capfd.readouterr()
    assert said in told and KEY not in out + told and not (tmp_path / "runs").exists()
