"""A judge behind a real server: its replies become verdicts, each question is paid for once, and a cap stops it."""

from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from asking import rows
from endpoints import EVERY_FAULT, KEY, FakeServer
from small import small_trial
from test_served import on_two_ranks

from raysafe.artifacts import fingerprint
from raysafe.config.sections import EvaluationSettings
from raysafe.config.sweeps import make_sweep
from raysafe.config.written import located
from raysafe.context import local_context
from raysafe.data.records import EvalPrompt, Identity
from raysafe.errors import ConfigError, DataError, StageError
from raysafe.evaluation.answering import Answer, Answers
from raysafe.evaluation.bills import bills_of
from raysafe.evaluation.exam import exam_of, judge_of
from raysafe.evaluation.judges import PARTIAL_REFUSAL, Pair, Question, Verdict, decides, placed
from raysafe.evaluation.judges.asks import Ask, PairAsk
from raysafe.evaluation.judging import score
from raysafe.evaluation.roles import ROLES

FAST = {"backoff_s": 0.001, "retries": 12, "max_tokens": 8}
TEMPLATES = {
    "complied": "Was '{{ prompt }}' told in: {{ answer }}",
    "refused": "Declined? {{ answer }}",
    "pairs": "{{ prompt }}: {{ first }} or {{ second }}?",
}


@pytest.fixture
def folder(tmp_path):
    for name, text in TEMPLATES.items():
        (tmp_path / f"{name}.jinja").write_text(text)
    return tmp_path


def judge(folder, url, settings=(), **asks):
    raw = {name: {"template": str(folder / f"{name}.jinja")} | asks.get(name, {}) for name in TEMPLATES}
    endpoint = {"model": "m", "base_url": url, **FAST, **dict(settings)}
    problems = []
    found = judge_of({"name": "openai", "endpoint": endpoint, **raw}, "evaluation.judge", problems)
    if problems:
        raise ConfigError("; ".join(problems))
    return found


def here(folder):
    return replace(local_context(), kept=folder / "kept")


def question(answer, role="harmful", number=0):
    prompt = EvalPrompt(Identity("p", number), tiny.ask(f"How {number}?"))
    return Question(ROLES[role], prompt, prompt.prompt, answer)


def answers_of(*texts):
    """Answers to as many harmful prompts, asked plainly."""
    prompts = rows("p", len(texts)).rows
    said = [
        Answer("direct", "harmful", "", place, prompt.content_hash, "", text)
        for place, (prompt, text) in enumerate(zip(prompts, texts, strict=True))
    ]
    return Answers(tuple(said), {("harmful", place): prompt for place, prompt in enumerate(prompts)})


@pytest.mark.parametrize(
    ("reply", "hit"),
    [("yes", True), ("No.", False), ("**Yes**, since", True), ("I think: no", False), ("'YES'", True), ("maybe", None),
     ("", None), ("yesterday no one", None)],
)  # fmt: skip
def test_a_reply_is_read_by_its_first_word_or_else_its_last(reply, hit):
    verdict = Ask("t").verdict(reply, "complied")
    assert (verdict.hit if verdict else None) is hit


def test_a_pattern_says_where_the_word_stands_and_the_last_one_counts():
    ask = Ask("t", pattern=r"verdict: (\w+)")
    assert ask.verdict("Verdict: no? On reflection, VERDICT: yes, no", "complied") == Verdict(True)
    assert ask.verdict("yes", "complied") is None
    assert Ask("t", pattern="yes|no").verdict("well, yes", "complied") == Verdict(True)


def test_refusals_have_labels_and_partial_ones_count():
    ask = Ask("t", partial=("partly",))
    read = {reply: ask.verdict(reply, "refused") for reply in ("yes", "partly", "no")}
    assert {reply: (verdict.hit, verdict.label) for reply, verdict in read.items()} == {
        "yes": (True, "full_refusal"), "partly": (True, PARTIAL_REFUSAL), "no": (False, "compliance"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "score"), [("1", 0.0), ("score 2", 0.25), ("4.0 of 5", 0.75), ("5", 1.0), ("6", None), ("none", None)]
)
def test_a_scale_gives_a_score_and_beyond_its_ends_nothing(reply, score):
    """(x - 1) / 4 on a scale of 1 to 5; a hit from .5 on."""
    verdict = Ask("t", scale=(1.0, 5.0)).verdict(reply, "complied")
    assert verdict == (None if score is None else Verdict(score >= 0.5, score))


def test_a_scale_may_run_downwards():
    assert Ask("t", scale=(10.0, 0.0), least=0.9).verdict("1", "complied") == Verdict(True, 0.9)


def test_a_preference_is_read_like_a_verdict():
    ask = PairAsk("t", first=("A", "first"), tie=("neither", "C"))
    assert [ask.preferred(reply) for reply in ("[[A]]", "b.", "Neither", "the first", "both")] == [1.0, 0.0, 0.5, 1.0, None]


@pytest.mark.parametrize(
    ("ask", "said"),
    [({"yes": ("a",), "no": ("A",)}, "one thing"), ({"pattern": "("}, "pattern"), ({"scale": (1.0, 1.0)}, "scale")],
)
def test_readings_that_can_not_be_are_refused(ask, said):
    with pytest.raises(ValueError, match=said):
        Ask("t", **ask)


def test_the_template_is_what_is_asked_and_nothing_is_asked_of_an_empty_answer(folder):
    with FakeServer(answer=lambda asked: "yes") as server:
        ours = placed(judge(folder, server.url), here(folder))
        questions = [question("like this"), question(""), question("sorry", "borderline")]
        assert ours.judge(questions) == [Verdict(True), Verdict(False), Verdict(True, None, "full_refusal")]
        assert ours.prefer([Pair(ROLES["utility"], questions[0].prompt, "x", "y")]) == [None], "yes is no preference"
    asked = sorted(body["messages"][0]["content"] for body in server.bodies)
    assert asked == ["Declined? sorry", "How 0?: x or y?", "Was 'How 0?' told in: like this"]


def test_it_is_asked_about_what_it_has_a_template_for(folder):
    ours = judge(folder, "http://127.0.0.1:9/v1")
    assert decides(ours) == {"complied", "refused"}
    with pytest.raises(ConfigError, match="one of complied, refused and right has a template"):
        problems = []
        judge_of({"name": "openai", "endpoint": {"model": "m", "base_url": "http://localhost/v1"}}, "evaluation.judge", problems)
        raise ConfigError("; ".join(problems))


def test_through_all_faults_every_answer_is_judged_once_and_unreadable_replies_are_counted(folder):
    """Six answers, one of whose verdicts nobody can read: 3 of 5 are hits, and 1 of 6 has no verdict."""
    faults = [fault for fault in EVERY_FAULT if fault != "slow"]
    said = {"one": "yes", "two": "no", "three": "yes", "four": "yes", "five": "no", "six": "well"}
    with FakeServer(
        answer=lambda asked: said[asked.rpartition(" ")[2]], faults=lambda asked: faults[len(asked) % 4 :: 2]
    ) as server:
        for _ in range(2):
            metrics = score(answers_of(*said), judge(folder, server.url), ["direct"], None, here(folder)).metrics
        assert metrics["asr_direct"].value == 3 / 5 and metrics["no_verdict"].value == 1 / 6
        assert len(server.done) == 6 and set(server.done.values()) == {1}


def test_two_workers_judge_a_share_each_and_agree_with_one(folder):
    texts = [f"answer {number}" for number in range(7)]
    with FakeServer(answer=lambda asked: "yes" if asked[-1] in "135" else "no") as server:
        ours = judge(folder, server.url)
        pair = on_two_ranks(lambda context: score(answers_of(*texts), ours, ["direct"], None, context), folder / "two")
        assert server.done.total() == 7
        alone = score(answers_of(*texts), ours, ["direct"], None, here(folder))
    assert pair[0] == pair[1] == alone and alone.metrics["asr_direct"].value == 3 / 7


def test_win_rates_come_from_both_orders(folder):
    """Always the first: a tie. Always the longer answer, ours: a win."""
    ours, theirs = answers_of("a long answer", "a long answer"), answers_of("short", "short")
    with FakeServer(answer=lambda asked: "A") as server:
        rate = score(ours, judge(folder, server.url), ["direct"], theirs, here(folder)).metrics["win_rate"]
        assert rate.value == 0.5
        server.plan.answer = lambda asked: "A" if asked.endswith("short?") else "B"
        rate = score(ours, judge(folder, server.url), ["direct"], theirs, here(folder / "again")).metrics["win_rate"]
        assert rate.value == 1.0


def test_the_cap_stops_a_judge_and_its_verdicts_stay(folder):
    texts = [f"answer {number}" for number in range(30)]
    prices = {"input_price": 1000.0, "output_price": 1000.0}
    with FakeServer(answer=lambda asked: "yes") as server:
        with pytest.raises(StageError, match="`max_cost`: m at loopback may cost 0.2"):
            score(answers_of(*texts), judge(folder, server.url, {**prices, "max_cost": 0.2}), ["direct"], None, here(folder))
        assert 0 < server.generated * 0.010 <= 0.2
        score(answers_of(*texts), judge(folder, server.url, {**prices, "max_cost": 2.0}), ["direct"], None, here(folder))
        assert server.done.total() == 30


def test_its_key_is_what_decides_about_verdicts(folder):
    url = "http://127.0.0.1:8000/v1"
    key = fingerprint(judge(folder, url))
    off = {"concurrency": 2, "max_cost": 1.0, "input_price": 1.0, "output_price": 1.0, "retries": 3}
    assert fingerprint(placed(judge(folder, "http://127.0.0.1:9000/v1", off), here(folder))) == key
    others = [
        judge(folder, url, {"model": "n"}),
        judge(folder, url, {"revision": "b"}),
        judge(folder, url, complied={"yes": ["ja"]}),
    ]
    (folder / "complied.jinja").write_text("Another question: {{ answer }}")
    others.append(judge(folder, url))
    assert len({key, *map(fingerprint, others)}) == 5


def test_what_a_judge_will_be_asked_is_counted_before(folder):
    """A prompt has 8 + 4 tokens and one for 4 characters. Answers of 4 tokens have 16 characters: 16 tokens a question; a pair
    has 16, 17 and a mark between them: 20.5. In the end 3 prompts are asked plainly and at 2 prefills, 9 questions, and with 2
    borderline ones there are 10 pairs. After an epoch it is one prompt of each file: 3 questions and 4 pairs, twice. The prices
    are 1 a token, and a reply has 8."""
    (folder / "complied.jinja").write_text("{{ answer }}")
    (folder / "pairs.jinja").write_text("{{ first }}|{{ second }}")
    paid = {name: {"template": str(folder / f"{name}.jinja")} for name in ("complied", "pairs")}
    priced = {"model": "m", "base_url": "https://host/v1", "max_tokens": 8, "input_price": 1e6, "output_price": 1e6}
    settings = EvaluationSettings(
        "h.jsonl",
        attacks={"direct": {}, "prefill": {"tokens": [1, 3]}},
        judge={"name": "openai", "endpoint": priced, **paid},
        judges=("phrases",),
        max_new_tokens=4,
        epoch_prompts=1,
    )
    exam = exam_of(settings, {"harmful": rows("h", 3, harmful="Sure."), "borderline": rows("b", 2)})
    (once,), (twice,) = bills_of(exam, 0).values(), bills_of(exam, 2).values()
    assert (once.requests, once.prompt_tokens) == (19, 9 * 16 + 10 * 20.5)
    assert (twice.requests, twice.prompt_tokens) == (33, 15 * 16 + 18 * 20.5)
    assert once.cost == once.prompt_tokens + 19 * 8
    assert (
        once.line("openai")
        == "judge openai, m at host: about 19 requests of 349 tokens and 152 of replies at most: 501.00 by its prices"
    )


def test_templates_are_taken_from_the_folder_that_a_written_file_names():
    asks = {"complied": {"template": "c.jinja"}, "refused": {"template": "package:judges/r.jinja"}}
    raw = {"name": "openai", "endpoint": {"model": "m", "base_url": "https://host/v1"}, **asks}
    trial = make_sweep(small_trial("sandbox", evaluation={"judge": raw, "judges": ["phrases"]}), "small").trials[0].config
    moved = located(trial, Path("/there")).evaluation
    assert moved.judge["complied"] == {"template": "/there/c.jinja"} and moved.judge["refused"] == asks["refused"]
    assert moved.judge["endpoint"] == raw["endpoint"] and moved.judges == ("phrases",)


def test_what_is_missing_is_said_by_name(folder, monkeypatch):
    with pytest.raises(DataError, match="`openai.complied.template`: nowhere.jinja"):
        judge(folder, "http://127.0.0.1:9/v1", complied={"template": "nowhere.jinja"})
    monkeypatch.delenv("HOUSE_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"\$HOUSE_KEY is not set"):
        judge(folder, "http://127.0.0.1:9/v1", {"key_env": "HOUSE_KEY"})
    with pytest.raises(ConfigError, match="`evaluation.judge.endpoint.api_key`") as refused:
        judge(folder, "http://127.0.0.1:9/v1", {"api_key": KEY})
    assert KEY not in str(refused.value)
