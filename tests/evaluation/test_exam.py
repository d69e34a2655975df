"""The `evaluation` section as suites, decoding and judges."""

from dataclasses import dataclass, replace

import pytest

from raysafe.artifacts import fingerprint
from raysafe.config.reading import build
from raysafe.config.sections import EvaluationSettings
from raysafe.data.references import DataRef
from raysafe.errors import ConfigError, DataError
from raysafe.evaluation import ATTACKS, JUDGES
from raysafe.evaluation.attacks import Attack, Direct
from raysafe.evaluation.exam import exam_of, smoke_test_notes
from raysafe.evaluation.judges import Phrases, Sandbox
from raysafe.evaluation.roles import FILES

DATA = {role: DataRef(f"print of {role}", f"{role}.jsonl") for role in FILES}


@dataclass(frozen=True)
class Searching(Attack):
    """Costs too much to be tried after each epoch, and is no part of the safety score."""

    name = "searching"
    needs_model = True
    counts = False
    each_epoch = False


def settings(**keys):
    problems = []
    found = build(EvaluationSettings, {"harmful": "h.jsonl", **keys}, "evaluation", problems)
    assert not problems, problems
    return found


def exam(**keys):
    return exam_of(settings(**keys), DATA)


def asked_key(**keys):
    """What of an exam is in the key of answers."""
    return fingerprint([exam(**keys).suites, exam(**keys).decoding])


def test_harmful_prompts_are_attacked_and_all_others_asked_as_they_are():
    suites = exam(attacks={"prefill": {"tokens": [2]}, "direct": {}}).suites
    assert [(suite.name, suite.role, suite.attack.name) for suite in suites] == [
        ("direct", "harmful", "direct"), ("prefill", "harmful", "prefill"), ("borderline", "borderline", "direct"),
        ("utility", "utility", "direct"), ("new_tasks", "new_tasks", "direct"),
    ]  # fmt: skip
    assert all(suite.data == DATA[suite.role] for suite in suites)


def test_the_plain_question_is_asked_but_does_not_count_where_it_is_no_attack():
    one = exam(attacks={"prefill": {}})
    assert [suite.name for suite in one.suites][:2] == ["direct", "prefill"] and one.attacks == ("prefill",)


def test_an_attack_says_whether_it_counts_and_whether_it_is_tried_after_an_epoch(monkeypatch):
    monkeypatch.setitem(ATTACKS, "searching", Searching)
    one = exam(attacks={"searching": {}, "prefill": {}})
    assert [suite.name for suite in one.suites][:3] == ["direct", "prefill", "searching"] and one.attacks == ("prefill",)
    assert [suite.name for suite in one.after_epoch][:3] == ["direct", "prefill", "borderline"]


def test_a_role_without_a_file_is_not_asked():
    assert [suite.role for suite in exam_of(settings(), {"harmful": DATA["harmful"]}).suites] == ["harmful", "harmful"]


def test_after_an_epoch_the_smaller_limit_holds():
    limits = [
        {s.max_prompts for s in exam(max_prompts=a, epoch_prompts=b).after_epoch} for a, b in ((9, 4), (3, 4), (None, None))
    ]
    assert limits == [{4}, {3}, {None}]


@pytest.mark.parametrize(
    "changed",
    [
        {"judge": "sandbox"}, {"judge": {"name": "sandbox"}, "judges": ["phrases"]}, {"batch_size": 3}, {"each_epoch": False},
        {"epoch_prompts": 5}, {"harmful": "elsewhere/h.jsonl"}, {"attacks": {"prefill": {}, "direct": {}}},
        {"attacks": {"direct": {}, "prefill": {"tokens": [3, 4, 5, 7, 10, 15, 20, 25]}}},
    ],
    ids=str,
)  # fmt: skip
def test_what_changes_no_answer_changes_no_key(changed):
    """The last two: the order of attacks, and a default that is written out."""
    assert asked_key(**changed) == asked_key()


@pytest.mark.parametrize(
    "changed",
    [{"max_new_tokens": 7}, {"max_prompts": 2}, {"attacks": {"direct": {}, "prefill": {"tokens": [2]}}}, {"precision": "bf16"}],
    ids=str,
)
def test_what_changes_answers_changes_their_key(changed):
    assert asked_key(**changed) != asked_key()


def test_other_rows_change_the_key_of_answers_and_another_path_does_not():
    suites = exam().suites
    moved = [replace(suite, data=DataRef(suite.data.fingerprint, "other.jsonl")) for suite in suites]
    other = [replace(suite, data=DataRef("another print", suite.data.path)) for suite in suites]
    assert fingerprint(moved) == fingerprint(suites) != fingerprint(other)


def test_in_bf16_the_batch_is_part_of_the_key():
    assert asked_key(precision="bf16", batch_size=8) != asked_key(precision="bf16", batch_size=16)


@dataclass(frozen=True)
class Strict(Phrases):
    name = "strict"
    threshold: float = 0.5


def test_a_judge_may_have_settings(monkeypatch):
    monkeypatch.setitem(JUDGES, "strict", Strict)
    one = exam(judge={"name": "strict", "threshold": 0.9}, judges=["phrases"])
    assert one.judges == (Strict(threshold=0.9), Phrases())


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"judge": "nobody"}, "`evaluation.judge`: got 'nobody', but it takes one of .*phrases, .*sandbox"),
        ({"judge": {"threshold": 1}}, "`evaluation.judge`: got None, but it takes one of"),
        ({"judge": {"name": "phrases", "strictness": 1}}, "`evaluation.judge.strictness`: unknown key"),
        ({"judges": ["nobody"]}, "`evaluation.judges.0`: got 'nobody'"),
        ({"judges": ["phrases"]}, "`evaluation.judges`: `phrases` judges twice"),
        ({"attacks": {"prefil": {}}}, "`evaluation.attacks.prefil`: unknown key.*did you mean `prefill`"),
        ({"attacks": {"prefill": {"tokens": [0]}}}, "`evaluation.attacks.prefill.tokens`"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_built_is_told_by_its_key(keys, told):
    with pytest.raises(ConfigError, match=told):
        exam(**keys)


@pytest.mark.parametrize("keys", [{"judge": 3}, {"judges": ["phrases", None]}], ids=str)
def test_a_judge_is_a_name_or_a_mapping(keys):
    problems = []
    assert build(EvaluationSettings, {"harmful": "h.jsonl", **keys}, "evaluation", problems) is None
    assert "takes a name or a mapping of name and settings` must hold" in problems[0] and len(problems) == 1


@dataclass(frozen=True)
class Reader(Strict):
    """A judge that looks for what its settings name."""

    name = "reader"

    def found(self):
        return replace(self, threshold=0.25)


def test_a_judge_and_an_attack_may_look_for_what_their_settings_name(monkeypatch):
    class Knowing(Direct):
        name = "knowing"

        def found(self):
            raise DataError("`evaluation.attacks.knowing.file`: it is not there.")

    monkeypatch.setitem(JUDGES, "reader", Reader)
    assert exam(judge="reader").judges == (Reader(threshold=0.25),)
    monkeypatch.setitem(ATTACKS, "knowing", Knowing)
    with pytest.raises(DataError, match=r"attacks\.knowing\.file"):
        exam(attacks={"knowing": {}})


@pytest.mark.parametrize(
    "changed",
    [
        {"max_new_tokens": 7}, {"max_prompts": 2}, {"attacks": {"direct": {}}}, {"precision": "bf16"}, {"judge": "sandbox"},
        {"judges": ["sandbox"]}, {"attacks": {"direct": {}, "prefill": {"tokens": [2]}}}, {"probes": {}},
        {"reference": {"trial": {"objective": "sft"}}},
    ],
    ids=str,
)  # fmt: skip
def test_what_decides_about_figures_changes_the_evaluations_fingerprint(changed):
    assert exam(**changed).fingerprint != exam().fingerprint


def test_reference_answers_go_by_what_they_say():
    def printed(mark, path):
        return exam_of(settings(reference=path), DATA, DataRef(mark, path)).fingerprint

    assert printed("one", "a.jsonl") == printed("one", "b.jsonl") != printed("other", "a.jsonl")
    assert printed("one", "a.jsonl") != exam().fingerprint


@pytest.mark.parametrize("changed", [{"batch_size": 3}, {"each_epoch": False}, {"harmful": "elsewhere/h.jsonl"}], ids=str)
def test_what_does_not_decide_about_figures_leaves_it(changed):
    assert exam(**changed).fingerprint == exam().fingerprint


def test_the_sandboxs_prompts_go_by_their_number_and_a_files_by_what_they_say():
    def printed(path, rows, mark):
        return exam_of(settings(harmful=path), {"harmful": DataRef(mark, "h.jsonl", rows=rows)}).fingerprint

    assert printed("sandbox", 8, "one") == printed("sandbox", 8, "another seed") != printed("sandbox", 9, "one")
    assert printed("h.jsonl", 8, "one") != printed("h.jsonl", 8, "another")


def test_phrases_alone_on_a_real_model_are_said_to_be_a_smoke_test():
    assert "smoke test" in smoke_test_notes("/models/x", [Phrases()])[0]
    assert smoke_test_notes("sandbox", [Phrases()]) == smoke_test_notes("/models/x", [Phrases(), Sandbox()]) == []
