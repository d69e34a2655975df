"""A served model, asked over a real connection that fails in every planned way."""

import itertools
import json
import multiprocessing
import os
import signal
import time
from dataclasses import replace

import pytest
from endpoints import EVERY_FAULT, KEY, USAGE, FakeServer

from raysafe.config.endpoints import EndpointSettings
from raysafe.data.records import Message
from raysafe.errors import ConfigError, StageError
from raysafe.evaluation.completions import Bid, Capped, Completion, Completions, Go, Wait
from raysafe.evaluation.endpoint import Endpoint
from raysafe.evaluation.wire import Request, retry_after

PROMPTS = [f"prompt {number}" for number in range(12)]
ANSWERS = [f"re {prompt}" for prompt in PROMPTS]


def settings(server, **more):
    quick = {"timeout_s": 5.0, "backoff_s": 0.001, "retries": 12}
    return EndpointSettings("judge", server.url, **quick | more)


def test_an_endpoint_completes_texts_and_conversations_in_order(tmp_path):
    turns = (Message("system", "be brief"), Message("user", "a turn"))
    with FakeServer() as server:
        endpoint = Endpoint(settings(server), tmp_path)
        assert endpoint.complete([*PROMPTS, turns]) == [*ANSWERS, "re a turn"]
    assert server.bodies[0].keys() == {"model", "messages", "temperature", "seed", "max_tokens"}
    assert [body["messages"] for body in server.bodies if len(body["messages"]) == 2] == [
        [{"role": "system", "content": "be brief"}, {"role": "user", "content": "a turn"}]
    ]


def test_a_second_run_and_equal_prompts_cost_nothing(tmp_path):
    with FakeServer() as server:
        endpoint = Endpoint(settings(server), tmp_path)
        assert endpoint.complete(PROMPTS + PROMPTS) == ANSWERS + ANSWERS
        assert endpoint.complete(PROMPTS) == ANSWERS
        assert (
            Endpoint(replace(endpoint.settings, concurrency=1, base_url=server.url + "/"), tmp_path).complete(PROMPTS) == ANSWERS
        )
        assert server.requests == len(PROMPTS)


@pytest.mark.parametrize(
    "change", [{"temperature": 0.5}, {"seed": 1}, {"max_tokens": 9}, {"revision": "b"}, {"body": {"top_p": 0.5}}]
)
def test_what_changes_a_text_asks_anew(tmp_path, change):
    with FakeServer() as server:
        endpoint = Endpoint(settings(server), tmp_path)
        endpoint.complete(["a"])
        Endpoint(replace(endpoint.settings, **change), tmp_path).complete(["a"])
        assert server.requests == 2


@pytest.mark.parametrize("fault", EVERY_FAULT, ids=str)
def test_every_fault_is_tried_again_and_no_prompt_is_lost(tmp_path, fault):
    with FakeServer(faults=[fault, fault]) as server:
        patience = {"timeout_s": 0.1} if fault == "slow" else {}
        assert Endpoint(settings(server, **patience), tmp_path).complete(PROMPTS[:3]) == ANSWERS[:3]
        assert server.done == dict.fromkeys(PROMPTS[:3], 1)
        assert server.requests == 9


def test_all_faults_together_lose_no_prompt_and_ask_none_twice(tmp_path):
    """Each prompt meets other faults in another order."""
    quick = [fault for fault in EVERY_FAULT if fault != "slow"]
    turns = {prompt: quick[place:] + quick[:place] for place, prompt in enumerate(PROMPTS[:5])}
    with FakeServer(faults=turns.get) as server:
        assert Endpoint(settings(server, concurrency=3), tmp_path).complete(PROMPTS[:5]) == ANSWERS[:5]
        assert server.done == dict.fromkeys(PROMPTS[:5], 1) and server.requests == 5 * 10
        assert server.most <= 3


def test_back_off_doubles_and_waits_as_long_as_the_server_says(tmp_path):
    """Waits are 0.5 to 1 times base, 2 base, 4 base; `Retry-After` goes before them."""
    with FakeServer(faults=[(500, {})] * 3 + [(429, {"Retry-After": "0.15"})]) as server:
        Endpoint(settings(server, backoff_s=0.02), tmp_path).complete(["a"])
    waits = [later - sooner for sooner, later in itertools.pairwise(server.times["a"])]
    assert all(wait >= least for wait, least in zip(waits, [0.01, 0.02, 0.04, 0.15 + 0.08], strict=True))


def test_what_one_worker_is_told_to_wait_holds_for_all_others(tmp_path):
    with FakeServer(faults=lambda asked: [(429, {"Retry-After": "0.2"})] if asked == "a" else []) as server:
        Endpoint(settings(server, concurrency=1), tmp_path).complete(["a", "b", "c"])
    assert min(server.times["b"] + server.times["c"]) - server.times["a"][0] >= 0.2


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"retry-after": "3"}, 3), ({"retry-after-ms": "250"}, 0.25), ({}, None), ({"retry-after": "x"}, None)],
)
def test_retry_after_is_read_in_all_its_forms(headers, seconds):
    assert retry_after(headers) == seconds


def test_retry_after_may_be_a_date():
    assert retry_after({"retry-after": "Fri, 01 Jan 2100 00:00:00 GMT"}) == pytest.approx(4102444800 - time.time(), abs=5)


def noted_starts(monkeypatch):
    """When each request may be made, by the ledger."""
    starts, claim = [], Completions.claim

    def noting(ledger, bid):
        given = claim(ledger, bid)
        starts.extend([given.start] if isinstance(given, Go) else [])
        return given

    monkeypatch.setattr(Completions, "claim", noting)
    return starts


def test_requests_are_spaced_by_the_rate_limits(tmp_path, monkeypatch):
    """1200 a minute are 50 ms apart; a prompt of 4 letters has 8 + 4 + 1 tokens, its reply 7: 20 of 24,000 a minute are 50 ms."""
    starts = noted_starts(monkeypatch)
    for limit in ({"requests_per_minute": 1200}, {"tokens_per_minute": 24000, "max_tokens": 7}):
        starts.clear()
        with FakeServer() as server:
            Endpoint(settings(server, **limit), tmp_path / next(iter(limit))).complete(["aaaa", "bbbb", "cccc", "dddd"])
            arrived = sorted(time.time() - time.monotonic() + moment for times in server.times.values() for moment in times)
        assert [round(later - sooner, 3) >= 0.05 for sooner, later in itertools.pairwise(sorted(starts))] == [True] * 3
        assert all(moment >= start - 0.001 for moment, start in zip(arrived, sorted(starts), strict=True))


def test_a_server_that_stays_broken_ends_the_errand_and_what_was_answered_is_kept(tmp_path):
    with FakeServer(faults=lambda asked: [(500, {})] * (99 if asked == "z" else 0)) as server:
        endpoint = Endpoint(settings(server, retries=2, concurrency=1), tmp_path)
        with pytest.raises(
            StageError, match=r"judge at loopback: 3 attempts failed, .*HTTP 500.* 1 of 13 requests have no reply"
        ):
            endpoint.complete([*PROMPTS, "z"])
        server.plan.faults = ()
        assert endpoint.complete([*PROMPTS, "z"]) == [*ANSWERS, "re z"]
        assert server.done == dict.fromkeys([*PROMPTS, "z"], 1)


@pytest.mark.parametrize("fault", [(404, {}), (429, {"code": "insufficient_quota"}), (429, {"Retry-After": "9999"})], ids=str)
def test_what_no_wait_mends_is_not_tried_again(tmp_path, fault):
    with FakeServer(faults=[fault] * 9) as server:
        with pytest.raises(StageError, match=f"HTTP {fault[0]}"):
            Endpoint(settings(server), tmp_path).complete(["a"])
        assert server.requests == 1


def test_a_text_that_the_server_will_not_take_is_told_as_empty_and_remembered(tmp_path):
    with FakeServer(faults=lambda asked: [(400, {})] * (99 if asked == "a" else 0)) as server:
        endpoint = Endpoint(settings(server, concurrency=1), tmp_path)
        for _ in range(2):
            assert endpoint.complete(["b", "a"]) == ["re b", ""]
        assert server.requests == 2
        with pytest.raises(StageError, match="HTTP 400"):
            Endpoint(endpoint.settings, tmp_path / "strict", strict=True).complete(["b", "a"])


def test_a_server_that_takes_nothing_is_an_error_soon(tmp_path):
    with FakeServer(faults=[(400, {})] * 99) as server:
        with pytest.raises(StageError, match="HTTP 400: planned"):
            Endpoint(settings(server, concurrency=1), tmp_path).complete([str(number) for number in range(100)])
        assert server.requests == 8
        with pytest.raises(StageError, match="HTTP 400: planned"):
            Endpoint(settings(server, concurrency=1), tmp_path).complete(["a"])


def test_an_empty_text_is_tried_again_unless_it_is_an_answer(tmp_path):
    with FakeServer(faults=["empty"]) as server:
        assert Endpoint(settings(server), tmp_path / "judge").complete(["a"]) == ["re a"]
        server.tries.clear()
        assert Endpoint(settings(server), tmp_path / "model", strict=True).complete(["a"]) == [""]
        server.plan.faults = ["empty"] * 99
        for _ in range(2):
            assert Endpoint(settings(server, retries=2), tmp_path / "never").complete(["b"]) == [""]
        assert server.tries["b"] == 3


PRICES = {"input_price": 1000.0, "output_price": 2000.0}
"""A reply of the server, 7 tokens in and 3 out, costs .013."""


def test_the_cap_holds_and_a_higher_one_goes_on_from_there(tmp_path):
    with FakeServer() as server:
        low = settings(server, **PRICES, max_cost=0.25, max_tokens=20)
        with pytest.raises(
            StageError, match=r"`max_cost`: judge at loopback may cost 0.25; 0.\d+ is spent .* of 25 requests have no"
        ):
            Endpoint(low, tmp_path).complete([f"p{number}" for number in range(25)])
        first = server.requests
        assert 0 < first * 0.013 <= 0.25
        with pytest.raises(StageError, match="max_cost"):
            Endpoint(low, tmp_path).complete([f"p{number}" for number in range(25)])
        assert server.requests == first
        Endpoint(replace(low, max_cost=9.0), tmp_path).complete([f"p{number}" for number in range(25)])
        assert server.requests == 25 and set(server.done.values()) == {1}
        assert Endpoint(low, tmp_path).account().spent == pytest.approx(25 * 0.013)


def test_the_cap_holds_when_replies_get_lost_on_the_way(tmp_path):
    """What the server generated counts, whether or not it arrived; without a count of tokens the most that it can be."""
    with FakeServer(faults=lambda asked: ["truncated", "dropped", "malformed"], usage=None) as server:
        low = settings(server, **PRICES, max_cost=1.0, max_tokens=20)
        with pytest.raises(StageError, match="max_cost"):
            Endpoint(low, tmp_path).complete([f"p{number}" for number in range(25)])
        assert 0 < server.generated * 0.013 <= 1.0
        assert Endpoint(low, tmp_path).account().spent <= 1.0


def test_a_cap_needs_prices():
    with pytest.raises(ValueError, match="max_cost comes with input_price and output_price"):
        EndpointSettings("judge", "http://127.0.0.1:1/v1", max_cost=1.0)


def test_the_key_comes_from_the_environment_and_goes_to_the_server_alone(tmp_path, monkeypatch, caplog, capfd):
    monkeypatch.setenv("HOUSE_KEY", KEY)
    monkeypatch.setenv("OPENAI_LOG", "debug")
    caplog.set_level("DEBUG")
    with FakeServer(key=KEY, faults=[(500, {})]) as server:
        ours = settings(server, key_env="HOUSE_KEY")
        assert Endpoint(ours, tmp_path).complete(["a"]) == ["re a"]
        server.plan.faults = [(418, {})] * 99
        with pytest.raises(StageError, match=r"planned, Bearer \[key\]") as refused:
            Endpoint(ours, tmp_path).complete(["b"])
        server.plan.key = "another"
        with pytest.raises(StageError, match="HTTP 401: `key_env`: the key in it is not accepted") as denied:
            Endpoint(ours, tmp_path).complete(["c"])
    assert all(headers["authorization"] == f"Bearer {KEY}" for headers in server.headers)
    told = [str(refused.getrepr(chain=True)), str(denied.getrepr(chain=True)), caplog.text, *capfd.readouterr()]
    found = [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert not found and not any(KEY in text for text in told)


def test_a_server_without_a_key_gets_none_that_is_meant_for_another(tmp_path, monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with FakeServer() as server:
        Endpoint(settings(server), tmp_path).complete(["a"])
    (headers,) = server.headers
    assert "authorization" not in headers and KEY not in json.dumps(headers)


def test_a_key_that_is_not_there_is_missed_by_name(tmp_path, monkeypatch):
    monkeypatch.delenv("HOUSE_KEY", raising=False)
    with FakeServer() as server, pytest.raises(ConfigError, match=r"`key_env`: \$HOUSE_KEY is not set here"):
        Endpoint(settings(server, key_env="HOUSE_KEY"), tmp_path).complete(["a"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": f"https://user:{KEY}@host/v1"},
        {"base_url": f"https://host/v1?api_key={KEY}"},
        {"base_url": f"{KEY}"},
        {"base_url": "http://judge.example/v1"},
        {"key_env": KEY},
        {"body": {"api_key": KEY}},
        {"body": {"messages": []}},
        {"concurrency": 0},
        {"retries": -1},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_settings_that_can_not_be_are_refused_and_no_key_is_shown(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))) as refused:
        EndpointSettings(**{"model": "judge", "base_url": "https://host/v1"} | wrong)
    assert KEY not in str(refused.value)


def test_plain_http_is_for_this_machine_or_for_those_who_allow_it():
    hosts = {"http://localhost:1/v1": "loopback", "http://127.0.0.9:1/v1": "loopback", "http://[::1]:1/v1": "loopback"}
    assert {url: EndpointSettings("m", url).host for url in hosts} == hosts
    assert EndpointSettings("m", "http://Judge.Example:8000/v1", allow_http=True).host == "judge.example"


def ask_from(server_url, folder, prompts, ready):
    ready.wait()
    Endpoint(EndpointSettings("judge", server_url, concurrency=4), folder).complete(prompts)


def test_processes_that_share_a_folder_ask_each_prompt_once(tmp_path):
    """Both want all prompts at the same time."""
    spawn = multiprocessing.get_context("fork")
    ready = spawn.Event()
    with FakeServer(pause_s=0.02) as server:
        pair = [spawn.Process(target=ask_from, args=(server.url, tmp_path, PROMPTS[::step], ready)) for step in (1, -1)]
        for process in pair:
            process.start()
        ready.set()
        for process in pair:
            process.join(60)
        assert [process.exitcode for process in pair] == [0, 0]
        assert server.done == dict.fromkeys(PROMPTS, 1)


def test_after_a_kill_what_was_answered_is_not_asked_again_and_what_was_not_is(tmp_path):
    """Two of the killed process's four requests were still open: they are counted at the most that they can have cost."""
    spawn = multiprocessing.get_context("fork")
    ready = spawn.Event()
    ready.set()
    with FakeServer(faults=lambda asked: ["held"] if asked in PROMPTS[2:4] else []) as server:
        process = spawn.Process(target=ask_from, args=(server.url, tmp_path, PROMPTS[:4], ready))
        process.start()
        while server.requests < 4 or Endpoint(settings(server), tmp_path).account().requests < 2:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.join(60)
        assert Endpoint(settings(server, **PRICES), tmp_path).complete(PROMPTS[:4]) == ANSWERS[:4]
        assert [server.done[prompt] for prompt in PROMPTS[:2]] == [1, 1]
        assert [server.tries[prompt] for prompt in PROMPTS[:4]] == [1, 1, 2, 2]
        assert Endpoint(settings(server), tmp_path).account().requests == 6


def test_the_ledger_gives_a_request_to_one_and_its_reply_to_all(tmp_path):
    bid = Bid("k", "a", most=3.0, cap=5.0)
    with Completions(tmp_path) as one, Completions(tmp_path) as other:
        assert isinstance(one.claim(bid), Go)
        assert other.claim(bid) == Wait()
        assert other.claim(replace(bid, key="l")) == Wait(), "3 under way and 3 more are above 5"
        one.settle(bid, 2.5, (7, 3), Completion("text", "stop"))
        assert other.claim(bid) == Completion("text", "stop")
        assert other.claim(replace(bid, key="l")) == Capped(2.5)
        assert isinstance(other.claim(replace(bid, key="l", most=2.5)), Go)


def test_the_most_tokens_of_a_prompt_are_more_than_any_tokenizer_gives():
    request = Request(messages=(Message("system", "é" * 10), Message("user", "ab")))
    assert request.most_tokens == 16 + (16 + 20) + (16 + 2)
    assert Request(ids=(1, 2, 3)).most_tokens == 3
    assert USAGE["prompt_tokens"] <= Request(messages=(Message("user", "p1"),)).most_tokens
