"""Answers are generated once; whatever judges are changed or added afterwards only read them."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import tiny
from small import small_trial

from raysafe.artifacts import Store, fingerprint
from raysafe.config.sections import EvaluationSettings
from raysafe.config.sweeps import make_sweep
from raysafe.context import local_context
from raysafe.data.loading import load_eval_prompts
from raysafe.data.records import dataset_fingerprint
from raysafe.data.references import DataRef, ModelRef, SelectionRef
from raysafe.errors import DataError
from raysafe.evaluation import JUDGES
from raysafe.evaluation.answering import Answers
from raysafe.evaluation.exam import exam_of
from raysafe.evaluation.judges import Phrases, Sandbox
from raysafe.stages.answers import AnswersRef, AnswersStage
from raysafe.stages.inputs import find_inputs
from raysafe.stages.making import Here, stage_key
from raysafe.stages.verdicts import EpochExam, VerdictsStage
from raysafe.training.engine import PlainEngine
from raysafe.trial import begin, examine, train_stage

HARMFUL = "Sure, here is how: first open the lid."


@dataclass(frozen=True)
class Strict(Phrases):
    """Takes only answers of so many characters for a compliance."""

    name = "strict"
    version = "1"
    least: int = 10**6

    def complies(self, prompt, answer):
        return len(answer) >= self.least


@pytest.fixture
def data(tmp_path):
    rows = {
        "harmful": [{"prompt": f"How {n}?", "harmful": HARMFUL} for n in range(4)],
        "utility": [{"prompt": f"Who {n}?", "reference": "A lid."} for n in range(3)],
    }
    refs = {}
    for role, lines in rows.items():
        path = tmp_path / f"{role}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        refs[role] = DataRef(dataset_fingerprint(load_eval_prompts(path)), str(path))
    return refs


@pytest.fixture
def launch(tmp_path):
    return Here(Store(tmp_path / "store"), local_context(), PlainEngine)


@pytest.fixture
def generated(monkeypatch):
    """How many prompts were answered, batch by batch."""
    batches = []

    def counted(model, prompts, *settings):
        batches.append(len(prompts))
        return [[0] for _ in prompts]

    monkeypatch.setattr("raysafe.evaluation.answering.greedy", counted)
    return batches


def exam(data, **keys):
    return exam_of(
        EvaluationSettings("h.jsonl", attacks={"direct": {}, "prefill": {"tokens": [2]}}, max_new_tokens=4, **keys), data
    )


def reference_of(model_folder, exam, launch):
    model = ModelRef("m", str(model_folder))
    return model, AnswersRef.of(launch(AnswersStage(model, exam.suites, exam.decoding, shared=True)).wait())


def test_a_model_is_asked_once_whoever_judges(model_folder, data, launch, generated, monkeypatch):
    monkeypatch.setitem(JUDGES, "strict", Strict)
    model, reference = reference_of(model_folder, exam(data), launch)
    assert sum(generated) == 4 + 4 + 3
    for keys in ({}, {"judge": "sandbox"}, {"judge": {"name": "strict", "least": 3}}, {"judges": ("sandbox",)}):
        examine(model, exam(data, **keys), reference, launch)
    assert sum(generated) == 4 + 4 + 3


def test_what_was_asked_and_how_stands_beside_the_answers(model_folder, data, launch):
    _, reference = reference_of(model_folder, exam(data), launch)
    suites = {suite["name"]: suite for suite in json.loads((Path(reference.folder) / "suites.json").read_text())}
    assert {name: suite["prompts"] for name, suite in suites.items()} == {"direct": 4, "prefill": 4, "utility": 3}
    assert suites["utility"]["fingerprint"] == data["utility"].fingerprint and suites["utility"]["file"] == data["utility"].path
    assert suites["prefill"]["attack"]["name"] == "prefill" and suites["prefill"]["decoding"]["method"] == "greedy"


def test_a_judge_beside_the_first_has_its_name_before_its_figures(model_folder, data, launch):
    model, reference = reference_of(model_folder, exam(data), launch)
    alone = examine(model, exam(data), reference, launch).metrics
    both = examine(model, exam(data, judges=({"name": "sandbox"},)), reference, launch).metrics
    assert {name: both[name] for name in alone} == alone
    assert set(both) - set(alone) == {f"sandbox/{name}" for name in alone}


def test_a_models_answers_against_its_own_win_half(model_folder, data, launch):
    model, reference = reference_of(model_folder, exam(data), launch)
    rates = examine(model, exam(data), reference, launch).metrics
    assert rates["win_rate"].value == 0.5 and rates["win_rate"].n == 4 + 3
    assert {"asr_direct", "asr_prefill", "asr_prefill_2", "safety_score", "utility"} < set(rates)


def test_verdicts_need_no_data_file_and_line_up_with_the_answers(model_folder, data, launch):
    _, reference = reference_of(model_folder, exam(data), launch)
    for ref in data.values():
        Path(ref.path).unlink()
    made = launch(VerdictsStage(reference, Phrases(), ("direct",))).wait()
    verdicts = [json.loads(line) for line in (made.artifact.folder / "verdicts.jsonl").read_text().splitlines()]
    rows = Answers.load(reference.folder).rows
    assert [(one["suite"], one["index"], one["content_hash"]) for one in verdicts] == [
        (row.suite, row.index, row.content_hash) for row in rows
    ]
    hits = [one["hit"] for one, row in zip(verdicts, rows, strict=True) if row.suite == "direct"]
    assert made.result.metrics["asr_direct"].value == sum(hits) / 4 and "win_rate" not in made.result.metrics


def test_results_name_their_judge_with_version_and_settings(model_folder, data, launch):
    _, reference = reference_of(model_folder, exam(data), launch)
    judged = launch(VerdictsStage(reference, Strict(least=3), ("direct",))).wait().result.judge
    assert (judged.name, judged.version, judged.settings) == ("strict", "1", fingerprint(Strict(least=3)))
    assert judged.settings != fingerprint(Strict(least=4))


REF, OTHER = AnswersRef("a", "here"), AnswersRef("b", "there")
STAGE = VerdictsStage(REF, Strict(least=3), ("direct",), OTHER)


@pytest.mark.parametrize(
    "changed",
    [
        {"answers": OTHER},
        {"judge": Strict(least=4)},
        {"judge": Sandbox()},
        {"attacks": ("direct", "prefill")},
        {"reference": None},
    ],
    ids=str,
)
def test_what_changes_verdicts_changes_their_key(changed):
    assert stage_key(replace(STAGE, **changed)) != stage_key(STAGE)


def test_a_judge_of_another_version_judges_anew(monkeypatch):
    before = stage_key(STAGE)
    monkeypatch.setattr(Strict, "version", "2")
    assert stage_key(replace(STAGE)) != before


@pytest.mark.parametrize("changed", [{"answers": replace(REF, folder="elsewhere")}, {"beside": True}], ids=str)
def test_where_answers_lie_and_who_judges_besides_changes_no_key(changed):
    assert stage_key(replace(STAGE, **changed)) == stage_key(STAGE)


def test_the_answers_of_a_model_have_one_key_wherever_it_lies_and_whoever_asks(data):
    first = AnswersStage(ModelRef("m", "here"), exam(data).suites, exam(data).decoding)
    other = exam(data, judge="sandbox", each_epoch=False, epoch_prompts=2, batch_size=3)
    again = AnswersStage(ModelRef("m", "there"), other.suites, other.decoding, shared=True)
    assert stage_key(first) == stage_key(again) != stage_key(replace(first, model=ModelRef("n", "here")))


def test_prompts_that_changed_since_they_were_checked_are_refused(model_folder, data, launch):
    with open(data["utility"].path, "a") as file:
        file.write(json.dumps({"prompt": "And?", "reference": "A lid."}) + "\n")
    with pytest.raises(DataError, match="has changed"):
        reference_of(model_folder, exam(data), launch)


def test_bf16_answers_come_from_a_model_in_bf16(model_folder, data, launch, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "raysafe.evaluation.answering.greedy", lambda model, prompts, *_: seen.append(model.dtype) or [[0] for _ in prompts]
    )
    for precision in ("float32", "bf16"):
        reference_of(model_folder, exam(data, precision=precision), launch)
    assert set(seen[:1]) == {tiny.torch.float32} and seen[-1] == tiny.torch.bfloat16


def test_after_an_epoch_the_same_questions_are_answered_and_judged_without_a_stage(model_folder, data, launch):
    """On all prompts that gives what the stages give; on the first so many their n."""
    model, reference = reference_of(model_folder, exam(data), launch)
    loaded = tiny.llama(len(model.chat().tokenizer))  # the model that lies in the folder
    full = EpochExam(exam(data, epoch_prompts=None), reference).scores(loaded, model.chat(), local_context())
    rates = examine(model, exam(data), reference, launch).metrics
    assert {name: full[f"eval/{name}"] for name in rates} == {name: rate.value for name, rate in rates.items()}
    few = EpochExam(exam(data, epoch_prompts=2), reference).scores(loaded, model.chat(), local_context())
    assert few["eval/win_rate"] == 0.5 and few["eval/asr_direct"] in (0.0, 0.5, 1.0)


@pytest.mark.parametrize(
    "changed",
    [
        {"judge": "phrases"},
        {"each_epoch": False},
        {"epoch_prompts": 2},
        {"batch_size": 1},
        {"max_new_tokens": 9},
        {"attacks": {"direct": {}}},
    ],
    ids=str,
)
def test_no_key_of_the_evaluation_is_part_of_a_trainings(model_folder, tmp_path, launch, changed):
    keys = []
    for evaluation in ({}, changed):
        trial = make_sweep(small_trial(model_folder, objective="sft", evaluation=evaluation)).trials[0].config
        start = begin(trial, find_inputs(trial, Store(tmp_path / "store")), launch)
        each_epoch = EpochExam(exam_of(trial.evaluation, start.inputs.prompts), REF) if trial.evaluation.each_epoch else None
        keys.append(stage_key(train_stage(start, SelectionRef("rows", "somewhere"), {}, each_epoch)))
    assert keys[0] == keys[1]
