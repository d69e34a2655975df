"""A real OpenAI-compatible server over loopback, whose faults are planned."""

import json
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "sk-house-3f9c51aa77"
SLOW_S = 1.0
"""How long a server sleeps that is to be too slow; clients of the tests give up after a tenth."""
USAGE = {"prompt_tokens": 7, "completion_tokens": 3}


@dataclass
class Plan:
    """What the server does. `answer`: a text for a prompt (a chat's last turn, or token ids); `faults`: what happens to the first
    attempts at each prompt, by turns or by prompt; `key`: what it wants to be shown."""

    answer: object = lambda asked: f"re {asked}"
    faults: object = ()
    key: str = ""
    usage: object = field(default_factory=lambda: dict(USAGE))
    pause_s: float = 0.0


class FakeServer:
    """`done`: how often each prompt's reply has been sent whole; `bodies`, `headers`, `times`: of every request, in order."""

    def __init__(self, **plan):
        self.plan, self.lock, self.over = Plan(**plan), threading.Lock(), threading.Event()
        self.done, self.tries = Counter(), Counter()
        self.bodies, self.headers, self.times = [], [], defaultdict(list)
        self.generated = self.now = self.most = 0
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"ours": self}))
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def __enter__(self):
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *problem):
        self.over.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    @property
    def requests(self):
        return len(self.bodies)

    def fault(self, asked):
        """What is to happen to this attempt; None for a reply."""
        with self.lock:
            number = self.tries[asked]
            self.tries[asked] += 1
            self.times[asked].append(time.monotonic())
        faults = self.plan.faults(asked) if callable(self.plan.faults) else self.plan.faults
        return faults[number] if number < len(faults) else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def do_POST(self):
        ours = self.ours
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked = tuple(body["prompt"]) if "prompt" in body else body["messages"][-1]["content"]
        with ours.lock:
            ours.bodies.append(body)
            ours.headers.append(dict(self.headers))
            ours.now += 1
            ours.most = max(ours.most, ours.now)
        try:
            self.reply(body, asked)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with ours.lock:
                ours.now -= 1

    def reply(self, body, asked):
        ours, plan = self.ours, self.ours.plan
        if plan.key and self.headers.get("authorization") != f"Bearer {plan.key}":
            return self.send(401, {"error": {"message": f"wrong key {plan.key}, got {self.headers.get('authorization')}"}})
        fault = ours.fault(asked)
        time.sleep(plan.pause_s)
        if isinstance(fault, tuple):
            status, headers = fault
            said = {"message": f"planned, {self.headers.get('authorization')}", "code": headers.get("code")}
            return self.send(status, {"error": said}, {name: value for name, value in headers.items() if name != "code"})
        with ours.lock:
            ours.generated += 1
        text = plan.answer(asked)
        choice = {"text": text} if "prompt" in body else {"message": {"role": "assistant", "content": text}}
        whole = {"choices": [choice | {"finish_reason": "stop", "index": 0}], "usage": plan.usage}
        if fault is not None:
            return getattr(self, fault)(whole)
        with ours.lock:
            ours.done[asked] += 1
        return self.send(200, whole)

    def send(self, status, body, headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **dict(headers)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def slow(self, whole):
        time.sleep(SLOW_S)
        self.send(200, whole)

    def held(self, whole):
        """No reply as long as the server lives."""
        self.ours.over.wait(60)
        self.cut()

    def malformed(self, whole):
        self.send(200, b'{"choices": [{"mess')

    def other(self, whole):
        self.send(200, ["not", "an", "object"])

    def nothing(self, whole):
        self.send(200, whole | {"choices": []})

    def empty(self, whole):
        self.send(200, {"choices": [{"message": {"content": ""}, "finish_reason": "stop"}], "usage": whole["usage"]})

    def truncated(self, whole):
        self.send(200, b'{"choices": [', {"Content-Length": "500"})
        self.cut()

    def dropped(self, whole):
        self.cut()

    def cut(self):
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(2)


EVERY_FAULT = (
    (429, {"Retry-After": "0.02"}),
    (429, {}),
    (500, {}),
    (503, {}),
    "malformed",
    "other",
    "nothing",
    "truncated",
    "dropped",
    "slow",
)
