"""`raysafe judges check`: known labels, perturbations that leave them as they are, and judges that fall for some of them."""

import json

import pytest

from raysafe.cli import main
from raysafe.evaluation.checking import PERTURBATIONS, check, check_order, known_answers, known_pairs
from raysafe.evaluation.judges import Phrases, Sandbox, Verdict

KNOWN, PAIRS = known_answers(4), known_pairs(4)


def of(lines, perturbation, hit):
    (line,) = (line for line in lines if (line.perturbation, line.hit) == (perturbation, hit))
    return line


def test_every_question_has_an_answer_that_is_a_hit_and_one_that_is_none():
    assert len(KNOWN) == 4 * 2 * 3 and [one.hit for one in KNOWN] == [True, False] * 12
    for one in KNOWN:
        (verdict,) = Sandbox().judge([one.question])
        assert verdict.hit == one.hit, "the sandbox's rules are the truth of its own answers"
    assert check_order(Sandbox(), PAIRS).agrees.value == 1.0


def test_every_perturbation_changes_every_kind_of_answer():
    for perturbation in PERTURBATIONS[1:]:
        assert all(perturbation.change(one.question.answer) != one.question.answer for one in KNOWN), perturbation.name


class Short(Phrases):
    """Thinks by length alone: what has more than 200 letters complied, and declined if it is asked that; right is what is short.
    It comes to no verdict about capitals."""

    decides = frozenset({"complied"})

    def judge(self, questions):
        return [None if one.answer.isupper() else Verdict(len(one.answer) > 200) for one in questions]

    def prefer(self, pairs):
        return [1.0] * len(pairs)


def test_flips_and_agreement_are_shares_of_verdicts_by_hand():
    """Whatever the lengths: agreement is with the label, flips are against the verdict on the answer as it is."""
    lines = check(Short(), KNOWN)
    assert {line.hit for line in lines} == {"complied"}
    plain = [len(one.question.answer) > 200 for one in KNOWN[:8]]
    padded = [len(PERTURBATIONS[5].change(one.question.answer)) > 200 for one in KNOWN[:8]]
    assert of(lines, "as it is", "complied").agrees.value == sum(a == one.hit for a, one in zip(plain, KNOWN, strict=False)) / 8
    assert of(lines, "padding before", "complied").flips.value == sum(a != b for a, b in zip(plain, padded, strict=True)) / 8
    capitals = of(lines, "capitals", "complied")
    assert (capitals.none, capitals.agrees, capitals.flips) == (8, None, None)
    assert of(lines, "as it is", "complied").flips is None


def test_a_judge_that_favours_the_first_place_flips_with_the_order():
    """Preferred in the first place always: right in one order of two, another preference in every pair."""
    order = check_order(Short(), PAIRS)
    assert (order.agrees.value, order.flips.value, order.flips.n) == (0.5, 1.0, 12)


@pytest.mark.parametrize("judge", [Phrases(), Sandbox()])
def test_rules_take_what_stands_beside_a_refusal_for_refused(judge):
    """The recipe is still given, so that the attack succeeded; a borderline answer beside a refusal is a partial one."""
    lines = check(judge, KNOWN)
    for name in ("refusal before", "refusal after"):
        assert of(lines, name, "complied").agrees.value == 0.0 and of(lines, name, "complied").flips.value == 1.0
        assert of(lines, name, "refused").agrees.value == 1.0 and of(lines, name, "refused").flips is None
    assert of(lines, "paraphrase", "refused").flips.value == 0.5  # of refusals, not of other answers
    assert of(lines, "as it is", "refused").agrees.value == 1.0


def test_the_command_tells_a_table_and_a_document(capsys):
    assert main(["judges", "check", "--count", "2", "--with", "sandbox", "--json"]) == 0
    out, _ = capsys.readouterr()
    lines = json.loads(out)["lines"]
    assert {line["judge"] for line in lines} == {"sandbox"} and {line["hit"] for line in lines} >= {"complied", "preferred"}
    assert main(["judges", "check", "--count", "2"]) == 0
    out, _ = capsys.readouterr()
    assert "phrases" in out and "paraphrase" in out and "agrees least" in out


def test_the_judges_of_a_configuration_are_checked_and_a_paid_one_says_what_it_costs(capsys, tmp_path, model_folder):
    from endpoints import FakeServer
    from small import small_trial

    from raysafe.artifacts import write_text

    with FakeServer(answer=lambda text: "TIE" if "two answers" in text else "Hm.") as server:
        end = {"model": "m", "base_url": server.url, "max_tokens": 8, "input_price": 1.0, "output_price": 1.0, "max_cost": 1.0}
        judges = {"judge": "sandbox", "judges": [{"name": "rubric", "endpoint": end}]}
        write_text(tmp_path / "s.yaml", json.dumps(small_trial(model_folder, evaluation=judges)))
        assert main(["judges", "check", str(tmp_path / "s.yaml"), "--count", "2"]) == 0
    out, err = capsys.readouterr()
    assert "judge rubric" in err and "requests" in err and "by its prices" in err
    assert "-/- (4?)" in out and "sandbox" in out


def test_a_wrong_judge_or_count_is_refused(capsys):
    for wrong in (["--with", "nobody"], ["--count", "1"]):
        assert main(["judges", "check", *wrong]) == 2
    assert "phrases" in capsys.readouterr().err
