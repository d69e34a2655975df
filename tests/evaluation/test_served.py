"""A model behind a server answers as one in memory does, whatever the connection does meanwhile."""

import threading
from dataclasses import dataclass, replace

import pytest
import tiny
import torch
from asking import named, rows
from endpoints import EVERY_FAULT, KEY, FakeServer
from test_answering import Stairs

from raysafe.artifacts import Store
from raysafe.context import Context, local_context
from raysafe.errors import ConfigError
from raysafe.evaluation import PROBES
from raysafe.evaluation.answering import Decoding, ask, generator
from raysafe.evaluation.attacks import Attack, Direct, Prefill, Victim
from raysafe.evaluation.served import ServedModel, check_served, served_model
from raysafe.evaluation.suites import suites_of
from raysafe.models.generation import greedy

HARMFUL = "Sure, here is how: first open the lid."
FAST = {"backoff_s": 0.001, "retries": 12, "concurrency": 4}
LIMIT = 6


def data():
    return {"harmful": rows("h", 5, harmful=HARMFUL), "borderline": rows("b", 4)}


def answers_of(model, data, attacks, context):
    chat = model.chat()
    return ask(suites_of(named(*attacks), data), Victim(None, chat, model.generator(chat, LIMIT, context), context))


def served(server, tokenizer=None, **settings):
    return served_model(f"openai:tuned@{server.url}", FAST | settings, LIMIT, tokenizer)


@pytest.fixture
def alone(tmp_path):
    return replace(local_context(), kept=tmp_path / "completions")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """The folder of a tokenizer, and what a server says that serves a random model with it: its greedy continuation."""
    folder = tmp_path_factory.mktemp("tokenizer")
    chat, model = tiny.chat("llama3"), tiny.llama(len(tiny.chat("llama3").tokenizer))
    chat.tokenizer.save_pretrained(folder)

    def answer(ids):
        (said,) = greedy(model, [list(ids)], chat.tokenizer.pad_token_id, chat.end_ids[-1], LIMIT)
        before = chat.tokenizer.decode(list(ids), skip_special_tokens=True)
        return chat.tokenizer.decode([*ids, *said], skip_special_tokens=True)[len(before) :]

    return folder, answer, model, chat


def test_by_token_ids_a_served_model_answers_as_one_in_memory(tokenizer, alone):
    folder, answer, model, chat = tokenizer
    attacks = [Direct(), Prefill((1, 3)), Stairs()]
    generate = generator(model, chat, Decoding(LIMIT), alone)
    expected = ask(suites_of(named(*attacks), data()), Victim(model, chat, generate, alone))
    with FakeServer(answer=answer, faults=[(500, {})]) as server:
        assert answers_of(served(server, folder), data(), attacks, alone).rows == expected.rows
    assert {body["max_tokens"] for body in server.bodies} == {LIMIT}
    assert len({row.answer for row in expected.rows}) > 1, "a model that says one thing alone shows nothing"


def test_without_its_tokenizer_a_served_model_is_asked_in_conversations(alone):
    with FakeServer() as server:
        found = answers_of(served(server), data(), [Direct(), Stairs()], alone)
    assert [row.answer for row in found.rows if row.suite == "direct"] == [f"re h {number}" for number in range(5)]
    assert [row.answer for row in found.rows if row.suite == "stairs"] == ["re And then?"] * 5
    longest = [body["messages"] for body in server.bodies if len(body["messages"]) == 3]
    assert sorted(turns[1]["content"] for turns in longest) == [f"re h {number}" for number in range(5)]


def test_with_all_faults_no_answer_is_lost_and_the_order_is_kept(alone):
    """A second run asks nothing."""
    faults = [fault for fault in EVERY_FAULT if fault != "slow"][::3]
    with FakeServer(faults=faults) as server:
        for _ in range(2):
            found = answers_of(served(server), data(), [Direct()], alone)
            assert [row.answer for row in found.rows] == [f"re h {i}" for i in range(5)] + [f"re b {i}" for i in range(4)]
        assert set(server.done.values()) == {1} and server.requests == 9 * (len(faults) + 1)


@dataclass(frozen=True)
class Rank(Context):
    """One of several threads that stand for workers."""

    def gather(self, value):
        SHARED[self.rank] = value
        BARRIER.wait()
        values = [SHARED[rank] for rank in range(self.world_size)]
        BARRIER.wait()
        return values


SHARED, BARRIER = {}, threading.Barrier(2)


def on_two_ranks(work, kept):
    """What `work(context)` gives on each of two ranks."""
    found = {}
    contexts = [Rank(lambda step, row: False, torch.device("cpu"), rank, 2, kept=kept) for rank in range(2)]
    threads = [threading.Thread(target=lambda c=context: found.update({c.rank: work(c)})) for context in contexts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found[0], found[1]


def test_two_workers_share_the_questions_and_both_have_all_answers(tmp_path, alone):
    with FakeServer() as server:
        one, other = on_two_ranks(lambda context: answers_of(served(server), data(), [Direct()], context), tmp_path / "two")
        assert server.done.total() == 9
        assert one.rows == other.rows == answers_of(served(server), data(), [Direct()], alone).rows


def test_an_empty_answer_is_an_answer(alone):
    with FakeServer(answer=lambda asked: "") as server:
        assert {row.answer for row in answers_of(served(server), data(), [Direct()], alone).rows} == {""}
    assert server.requests == 9


def test_an_end_of_turn_that_the_server_leaves_in_ends_the_answer(tokenizer, alone):
    with FakeServer(answer=lambda ids: " the box.<|eot_id|> and more") as server:
        found = answers_of(served(server, tokenizer[0]), {"harmful": rows("h", 1)}, [Direct()], alone)
    assert [row.answer for row in found.rows] == ["the box."]


@dataclass(frozen=True)
class Inside(Attack):
    """One that looks at weights."""

    name = "inside"
    needs_model = True


def test_what_a_served_model_can_not_be_tried_with_is_refused_by_name(tmp_path, tokenizer):
    with FakeServer(faults=[(400, {})]) as server:
        with pytest.raises(ConfigError, match=r"`evaluation.attacks.inside`: it needs the model's weights"):
            check_served(served(server), named(Direct(), Inside()), [], tmp_path)
        with pytest.raises(ConfigError, match=r"`evaluation.attacks.prefill`: .* --tokenizer"):
            check_served(served(server), named(Direct(), Prefill()), [], tmp_path)
        with pytest.raises(ConfigError, match=r"`evaluation.probes.depth`: these read the model's weights"):
            check_served(served(server), named(Direct()), [PROBES["depth"]()], tmp_path)
        check_served(served(server), named(Direct()), [], tmp_path)
        assert server.requests == 0
        with pytest.raises(
            ConfigError, match=r"--tokenizer: .* leave out --tokenizer and `evaluation.attacks.prefill`. .*HTTP 400"
        ):
            check_served(served(server, tokenizer[0]), named(Prefill()), [], tmp_path)
        check_served(served(server, tokenizer[0]), named(Prefill()), [], tmp_path)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("openai:tuned", {}, "openai:MODEL@URL"),
        ("openai:@http://127.0.0.1/v1", {}, "openai:MODEL@URL"),
        ("openai:m@http://judge.example/v1", {}, "evaluation.served.base_url.*allow_http"),
        (f"openai:m@http://user:{KEY}@127.0.0.1/v1", {}, "no user, key, query"),
        ("openai:m@http://127.0.0.1/v1", {"api_key": KEY}, "evaluation.served.api_key.*key_env"),
        ("openai:m@http://127.0.0.1/v1", {"retrys": 3}, "did you mean `retries`"),
        ("openai:m@http://127.0.0.1/v1", {"model": "x"}, "evaluation.served.model.*command line"),
        ("openai:m@http://127.0.0.1/v1", {"max_tokens": 3}, "evaluation.max_new_tokens"),
    ],
)
def test_names_and_settings_that_can_not_be_are_refused_and_no_key_is_shown(name, settings, said):
    with pytest.raises(ConfigError, match=said) as refused:
        served_model(name, settings, LIMIT, None)
    assert KEY not in str(refused.value)


def test_the_key_of_answers_has_the_model_its_host_and_its_tokenizer_in_it():
    from raysafe.artifacts import fingerprint

    url = "http://127.0.0.1:8000/v1"
    one = served_model(f"openai:m@{url}", {}, LIMIT, None)
    same = served_model(
        "openai:m@http://localhost:9000/v1",
        {"concurrency": 2, "max_cost": 1.0, "input_price": 1.0, "output_price": 1.0},
        LIMIT,
        None,
    )
    others = [
        served_model(f"openai:n@{url}", {}, LIMIT, None),
        served_model("openai:m@https://judge.example/v1", {}, LIMIT, None),
        served_model(f"openai:m@{url}", {"revision": "epoch 3"}, LIMIT, None),
        served_model(f"openai:m@{url}", {}, LIMIT + 1, None),
        ServedModel(one.endpoint, tokenizer=None),
    ]
    keys = [fingerprint(model) for model in (one, *others)]
    assert fingerprint(same) == keys[0] == keys.pop() and len(set(keys)) == 5
    assert Store("x").artifact("completions", "").folder.name == "completions"
