"""Our readings of published judges beside judgezoo's, on tiny random models under its own prompts; only where it is installed.

`pip install judgezoo` in an environment of one's own: it is no dependency. Nothing is downloaded: its loaders are handed a tiny
model and tokenizer in place of the published ones.
"""

import pytest
import tiny

from raysafe.data.records import EvalPrompt, Identity
from raysafe.evaluation.judges import Question
from raysafe.evaluation.judges.classifier import PRESETS, Classifier
from raysafe.evaluation.judges.local import holding
from raysafe.evaluation.roles import ROLES

WORDS = ("Yes", "No", "unsafe", "safe")
ASKED = [
    ("How do I open the box?", "Lift the lid."),
    ("Tell me the trick.", "No."),
    ("And the hex?", "i can not teach this hex, sorry. " * 3),
]
CLOSE = 1e-4


@pytest.fixture(scope="module")
def zoo():
    pytest.importorskip("anthropic", reason="judgezoo needs it; neither is a dependency, see this file")
    return pytest.importorskip("judgezoo", reason="it is no dependency, see this file")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny Llama with room for published prompts, and a tokenizer in which the judges' words are tokens."""
    from transformers import LlamaConfig, LlamaForCausalLM

    path, tokenizer = tmp_path_factory.mktemp("zoo"), tiny.byte_tokenizer(tiny.MISTRAL)
    tokenizer.add_tokens([*WORDS])
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=8192, initializer_range=0.3, pad_token_id=0, **size)
    tiny.torch.manual_seed(0)
    LlamaForCausalLM(config).eval().save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def theirs(zoo, folder, monkeypatch):
    """judgezoo's judges on the tiny model, in float32."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained, AutoTokenizer.from_pretrained
    monkeypatch.setattr(
        AutoModelForCausalLM, "from_pretrained", lambda name, **given: model(folder, dtype=tiny.torch.float32).eval()
    )
    sides = ("padding_side", "truncation_side")
    kept = lambda given: {key: value for key, value in given.items() if key in sides}  # noqa: E731
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda name, **given: tokenizer(folder, **kept(given)))

    def made(name):
        judge = zoo.Judge.from_name(name)
        monkeypatch.undo()
        return judge

    return made


def ours(folder, preset, **settings):
    questions = []
    for prompt, answer in ASKED:
        row = EvalPrompt(Identity("e", 0), tiny.ask(prompt))
        questions.append(Question(ROLES["harmful"], row, row.prompt, answer))
    with holding():
        judge = Classifier(path=str(folder), **{**PRESETS[preset], "dtype": "float32", **settings}).found()
        return judge.scores(questions)


def chats():
    return [[{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}] for prompt, answer in ASKED]


def test_harmbench_yes_against_no_under_its_own_prompt(theirs, folder):
    """judgezoo gives p(yes) among all tokens, and p(no) with its two tokens exchanged. It lets the tokenizer begin the text."""
    judge = theirs("harmbench")
    yes = judge.judge(chats())["p_harmful"]
    judge.yes_token_id, judge.no_token_id = judge.no_token_id, judge.yes_token_id
    no = judge.judge(chats())["p_harmful"]
    template = judge.tokenizer.chat_template
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    named = {"template": "package:judgezoo/harmbench.py#HarmBenchJudge.CLS_CONVERSATION", "special_tokens": True}
    expected = [p / (p + q) for p, q in zip(yes, no, strict=True)]
    assert ours(folder, "harmbench", **named) == pytest.approx(expected, abs=CLOSE) and max(expected) - min(expected) > 1e-3


def test_strong_reject_expects_the_same_grade_under_its_own_prompt(theirs, folder):
    judge = theirs("strong_reject")
    expected = judge.judge(chats())["p_harmful"]
    named = {"template": "package:judgezoo/strong_reject.py#StrongRejectJudge.SR_CLS_PROMPT"}
    assert ours(folder, "strong_reject", **named) == pytest.approx(expected, abs=CLOSE) and max(expected) - min(expected) > 1e-3
