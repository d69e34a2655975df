"""What win rates compare with: a file of answers matched by what is asked, or another trial, which an equal one shares whole."""

import json

import pytest
from rich.console import Console
from small import small_trial

from raysafe.artifacts import MemoryStore
from raysafe.config.sweeps import make_sweep, opponent_of
from raysafe.errors import ConfigError, DataError
from raysafe.evaluation.answering import Answers
from raysafe.evaluation.exam import exam_of
from raysafe.stages.inputs import find_inputs
from raysafe.stages.references import ReferenceFileStage, plainly_asked
from raysafe.sweep.plan import dry_run
from raysafe.trial import here, run_trial

PLAIN = {"objective": "sft", "selector": "none", "selection.percent": 100}
FAST = {"each_epoch": False, "attacks": {"direct": {}, "prefill": {"tokens": [3]}}, "probes": {}, "max_new_tokens": 4}


def config(model_folder, reference="base", **changed):
    evaluation = FAST | {"reference": reference}
    settings = {"objective": "sft", "training": {"epochs": 1}, "evaluation": evaluation} | changed
    return make_sweep(small_trial(model_folder, **settings)).trials[0].config


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_an_opponent_is_the_same_trial_but_for_what_is_named(model_folder):
    trial = config(model_folder, {"trial": PLAIN})
    opponent = opponent_of(trial, [])
    assert (opponent.selector.name, opponent.percent, opponent.objective.name) == ("none", 100.0, "sft")
    assert (opponent.seed, opponent.data, opponent.training, opponent.sandbox) == (
        trial.seed, trial.data, trial.training, trial.sandbox
    )  # fmt: skip
    assert opponent.evaluation.reference == "base" and opponent_of(opponent, []) is None  # no circle


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ({"trial": {"objective": "nothing"}}, "objective.name"),
        ({"trial": {"evaluation.max_prompts": 3}}, "unknown key"),
        ({"trial": {"seed": 3}}, "unknown key"),
        ({"trial": {"selector": "none", "selection.percent": 50}}, "evaluation.reference.trial.*keeps all rows"),
        ({"other": {}}, "reference takes base, a file, or"),
        (3, "reference takes base, a file, or"),
    ],
    ids=str,
)
def test_a_wrong_reference_is_refused_by_its_key(model_folder, reference, said):
    with pytest.raises(ConfigError, match=said):
        config(model_folder, reference)


def test_the_plan_knows_the_opponent_once_for_all_trials_that_have_the_same(model_folder, tmp_path):
    evaluation = FAST | {"reference": {"trial": PLAIN}}
    grid = {"grid": {"selector.gamma": [0.1, 0.5]}}
    sweep = make_sweep(small_trial(model_folder, objective="sft", training={"epochs": 1}, evaluation=evaluation, sweep=grid))
    lines = {line["stage"]: line["runs"] for line in dry_run(sweep, tmp_path, Console(quiet=True))["stages"]}
    assert lines["opponent"] == 1 and lines["reference answers"] == 2 and lines["train"] == 2


def test_a_file_is_matched_by_what_is_asked_and_what_it_lacks_is_counted(model_folder, tmp_path):
    """All harmful prompts but one, and no other role's."""
    store = MemoryStore()
    trial = config(model_folder)
    asked = find_inputs(trial, store).prompts
    rows = [{"prompt": row.prompt[-1].content, "response": f"said {row.identity.index}"} for row in asked["harmful"].prompts()]
    path = written(tmp_path / "said.jsonl", [{"prompt": "Of another file?", "response": "x"}, *rows[:0:-1]])
    inputs = find_inputs(config(model_folder, path), store)
    stage = ReferenceFileStage(plainly_asked(exam_of(trial.evaluation, inputs.prompts).suites), inputs.reference)
    made = here(store)(stage).wait()
    others = sum(len(data.prompts()) for role, data in asked.items() if role != "harmful")
    assert (made.result.answers, made.result.missing) == (len(rows) - 1, others + 1)
    answers = Answers.load(made.artifact.folder)
    assert {row.suite for row in answers.rows} == {"direct"}
    assert all(row.answer == f"said {row.index}" for row in answers.rows) and 0 not in {row.index for row in answers.rows}
    assert inputs.data()["evaluation.reference"].fingerprint == inputs.reference.fingerprint


def test_a_file_that_answers_nothing_or_contradicts_itself_is_refused(model_folder, tmp_path):
    path = written(tmp_path / "said.jsonl", [{"prompt": "Of another file?", "response": "x"}])
    with pytest.raises(DataError, match="`evaluation.reference`: .*said.jsonl: none of its prompts"):
        find_inputs(config(model_folder, path), MemoryStore())
    written(tmp_path / "said.jsonl", [{"prompt": "Two?", "response": text} for text in ("x", "y")])
    with pytest.raises(DataError, match="row 2: its prompt stands before it with another answer"):
        find_inputs(config(model_folder, path), MemoryStore())


def test_an_equal_trial_shares_everything_with_the_opponent_and_ties_with_it(model_folder, tmp_path):
    """The opponent is trained for the first trial; the second is that opponent, so that nothing is trained, and it wins half."""
    store = MemoryStore()
    first = run_trial(config(model_folder, {"trial": PLAIN}), store, tmp_path / "first")
    trained = [artifact.key for artifact in store.all_of("train")]
    assert len(trained) == 2 and first.checkpoint.key in trained
    plain = {"selector": "none", "selection": {"percent": 100}}
    second = run_trial(config(model_folder, {"trial": PLAIN}, **plain), store, tmp_path / "second")
    assert [artifact.key for artifact in store.all_of("train")] == trained and second.checkpoint.key != first.checkpoint.key
    assert second.metrics["win_rate"].value == second.metrics["win_rate_lc"].value == 0.5
    manifests = [artifact.manifest()["inputs"] for artifact in store.all_of("verdicts")]
    against = {one["reference"]["key"] for one in manifests if one["reference"]}
    assert len(against) == 1 and len([one for one in manifests if one["reference"] is None]) == 1  # the base model's own
