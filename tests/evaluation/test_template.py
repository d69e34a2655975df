"""Templates of judges: the user's file, a package's file, a constant of a package's source; run in a sandbox or not at all."""

import sys

import pytest
import tiny

from raysafe.data.records import EvalPrompt, Identity, Message
from raysafe.errors import DataError
from raysafe.evaluation.judges import Question
from raysafe.evaluation.judges.template import find_template, variables_of
from raysafe.evaluation.roles import ROLES

ROW = EvalPrompt(Identity("e", 0), tiny.ask("How do I open the box?"), "By the lid.")
ASKED = (*tiny.ask("A story, please."), Message("assistant", "Which?"), Message("user", "One with a box."))
QUESTION = Question(ROLES["harmful"], ROW, ASKED, "Lift {answer} the lid.")


@pytest.fixture
def file(tmp_path):
    def written(text, name="judge.jinja"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return written


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose import would end the test."""
    folder = tmp_path / "boxjudge"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise AssertionError('imported')")
    (folder / "ask.jinja").write_text("{{ prompt }}|{{ answer }}")
    (folder / "judge.py").write_text(
        "ASK = 'To {behavior}: {response}? {other} {reference}'\n"
        "class Judge:\n    TURNS = [{'role': 'system', 'content': 'Judge.'}, {'role': 'user', 'content': '{generation}'}]\n"
        "    MADE = 'a'.upper()\n    NUMBER: int = 4\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "package:boxjudge"


def rendered(named):
    return find_template(named, "judge.template").render(variables_of(QUESTION))


def test_a_file_reads_all_variables_and_loses_its_last_line_break(file):
    text = "{{ prompt }}|{{ answer }}|{{ reference }}|{% for t in conversation %}{{ t.role }}:{{ t.content }};{% endfor %}\n"
    said = "user:A story, please.;assistant:Which?;user:One with a box.;"
    assert rendered(file(text)) == f"How do I open the box?|Lift {{answer}} the lid.|By the lid.|{said}"


def test_a_package_gives_a_file_or_a_constant_and_is_not_run(package):
    assert rendered(f"{package}/ask.jinja") == "How do I open the box?|Lift {answer} the lid."
    text = "To How do I open the box?: Lift {answer} the lid.? {other} By the lid."
    assert rendered(f"{package}/judge.py#ASK") == text  # an answer's own braces stay, and so do names that nobody knows
    turns = rendered(f"{package}/judge.py#Judge.TURNS")
    assert turns == (Message("system", "Judge."), Message("user", "Lift {answer} the lid."))
    assert "boxjudge" not in sys.modules


def test_a_template_goes_by_what_it_says(file, package):
    one, same = (find_template(file("{{ answer }}", name), "k").fingerprint for name in ("a.jinja", "b.jinja"))
    assert one == same != find_template(file("{{ answer }}.", "a.jinja"), "k").fingerprint
    assert len({find_template(f"{package}/{name}", "k").fingerprint for name in ("ask.jinja", "judge.py#ASK")} | {one}) == 3


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("missing.jinja", "can't be read"),
        ("package:nosuchpackage/ask.jinja", "no package 'nosuchpackage' is installed"),
        ("package:../ask.jinja", "no package"),
        ("PACKAGE/../secret.txt", "out of the package"),
        ("PACKAGE/none.jinja", "can't be read"),
        ("PACKAGE/judge.py", "#CONSTANT"),
        ("PACKAGE/judge.py#Judge.NONE", "no constant `Judge.NONE`"),
        ("PACKAGE/judge.py#Judge.MADE", "is computed"),
        ("PACKAGE/judge.py#Judge.NUMBER", "got a int"),
    ],
)
def test_what_is_no_template_is_refused_with_the_setting(package, named, says):
    with pytest.raises(DataError, match="`judge.template`") as error:
        find_template(named.replace("PACKAGE", package), "judge.template")
    assert says in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "{{ anser }}",
        "{{ answer.__class__.__mro__ }}",
        "{{ conversation.append(1) }}",
        "{% include 'other' %}",
        "{{ answer",
        "{{ cycler.__init__.__globals__.os.getcwd() }}",
    ],
)
def test_a_template_that_errs_or_reaches_out_is_refused(file, text):
    with pytest.raises(DataError, match="judge.jinja"):
        rendered(file(text))
