"""Between a sweep and its tracker: what is to be recorded stands in a file at once, and a thread tells it when the tracker can.

The sweep never waits for the tracker. The file is appended to, one JSON entry a line; how far a tracker has been told stands
beside it, by tracker. Entries may be told twice after a crash, which every tracker must bear.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from raysafe.artifacts import fingerprint, write_json
from raysafe.errors import InputError
from raysafe.tracking.base import DatasetSpec, EndStatus, ModelSpec, Refused, RunSpec, Tracker, View, safe_tags, with_runs

BACKLOG = "tracking.jsonl"
PATIENCE_S = 60.0
"""How long the end of a sweep waits for a tracker that takes nothing."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
"""Between two attempts to tell the same entry."""
TRIES = 8
"""Attempts to tell an entry, half a minute of them, to a tracker that answers meanwhile; then it is left for another time."""
MARK_EVERY_S = 1.0
GOODBYE_S = 5.0


class Backlog:
    """A Tracker that only writes down what it is told; a run's id is KIND:KEY. It begins with what an earlier process left."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / BACKLOG
        self.entries: list[dict[str, Any]] = []
        self.open: dict[str, None] = {}
        self._more = threading.Condition()
        text = self.path.read_bytes() if self.path.exists() else b""
        self._torn: int | None = text.rfind(b"\n") + 1  # where a kill has torn the last line, if it has
        for line in text[: self._torn].splitlines():
            self._take(json.loads(line))

    def start(self, run: RunSpec, time_ms: int | None = None) -> str:
        spec = asdict(run) | {"params": run.all_params(), "tags": run.all_tags()}  # as texts, without passwords
        return self._add("start", f"{run.kind}:{run.key}", time_ms, spec=spec)

    def log(self, run_id: str, step: int, metrics: Mapping[str, float], time_ms: int | None = None) -> None:
        self._add("log", run_id, time_ms, step=step, metrics={name: float(value) for name, value in metrics.items()})

    def note(self, run_id: str, tags: Mapping[str, str]) -> None:
        self._add("note", run_id, None, tags=safe_tags(tags))

    def artifact(self, run_id: str, path: Path, folder: str = "") -> None:
        self._add("artifact", run_id, None, path=str(path.absolute()), folder=folder)

    def dataset(self, run_id: str, dataset: DatasetSpec) -> None:
        self._add("dataset", run_id, None, spec=asdict(dataset))

    def model(self, run_id: str, model: ModelSpec) -> None:
        self._add("model", run_id, None, spec=asdict(model))

    def view(self, view: View, time_ms: int | None = None) -> None:
        self._add("view", "", time_ms, spec=asdict(view))

    def end(self, run_id: str, status: EndStatus, error: str = "", time_ms: int | None = None) -> None:
        self._add("end", run_id, time_ms, status=status, error=error)

    def answers(self) -> bool:
        return True

    def _add(self, do: str, run: str, time_ms: int | None, **more: Any) -> str:
        entry = {"do": do, "run": run, "time_ms": int(time.time() * 1000) if time_ms is None else time_ms, **more}
        with self._more:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                if self._torn is not None:
                    file.truncate(self._torn)
                file.write(json.dumps(entry).encode() + b"\n")
            self._torn = None
            self._take(entry)
            self._more.notify_all()
        return run

    def _take(self, entry: dict[str, Any]) -> None:
        self.entries.append(entry)
        if entry["do"] == "start":
            self.open[entry["run"]] = None
        elif entry["do"] == "end":
            self.open.pop(entry["run"], None)

    def wait(self, place: int, seconds: float) -> dict[str, Any] | None:
        """The entry at a place, or None if there is none within so many seconds."""
        with self._more:
            self._more.wait_for(lambda: place < len(self.entries), seconds)
            return self.entries[place] if place < len(self.entries) else None


class Teller:
    """Tells a tracker what stands in a backlog, from a thread of its own, again and again until the tracker has taken it.

    `name` tells trackers of one backlog apart; a new one is told everything. `opened` makes the tracker, and may fail as well.
    """

    def __init__(self, backlog: Backlog, name: str, opened: Callable[[], Tracker], pause_s: float = FIRST_PAUSE_S) -> None:
        self.backlog, self.opened, self.pause_s = backlog, opened, pause_s
        self.problem: Exception | None = None
        """What the tracker said last, if it would not take an entry."""
        self.refused: list[str] = []
        """What it will never take, or did not take so far while it took others."""
        self._marks, self._name = backlog.path.with_suffix(".told.json"), fingerprint(name)
        self.position = min(self._known().get(self._name, 0), len(backlog.entries))
        self.left: list[int] = self._known().get(f"{self._name}:left", [])
        """Places of entries that the tracker did not take while it took others. The next teller tries each of them once."""
        self._try_left = bool(self.left)
        self._ids: dict[str, str] = {}
        self._later: list[dict[str, Any]] = []  # what runs that had to be started again were told before
        self._tracker: Tracker | None = None
        self._over, self._heard = threading.Event(), threading.Event()
        self._marked = 0.0
        self._thread = threading.Thread(target=self._work, name="raysafe record", daemon=True)

    def begin(self) -> None:
        """Start the thread; the tracker is opened at once."""
        self._thread.start()

    def first_word(self, seconds: float) -> None:
        """Wait so long for the tracker to be opened. Raises InputError if it says that what the user named can't be one."""
        self._heard.wait(seconds)
        if isinstance(self.problem, InputError):
            raise self.problem

    @property
    def missing(self) -> int:
        """Entries that are still to be told."""
        return len(self.backlog.entries) - self.position + (len(self.left) if self._try_left else 0)

    def drain(self, patience_s: float) -> bool:
        """Wait until all is told, but no longer than so many seconds without progress; then end. Whether all is told."""
        reached, since = self.position, time.monotonic()
        while self.missing and time.monotonic() - since < patience_s and self._thread.is_alive():
            time.sleep(0.02)
            if self.position != reached:
                reached, since = self.position, time.monotonic()
        self._over.set()
        self._thread.join(timeout=GOODBYE_S)  # it may be in the middle of a call that never returns
        if (self.position, self.left) != (self._known().get(self._name, 0), self._known().get(f"{self._name}:left", [])):
            self._mark()
        return self.missing == 0

    def _work(self) -> None:
        pause, tries = self.pause_s, 0
        while not self._over.is_set():
            entry = None
            try:
                self._tracker = self._tracker or self.opened()
                self._heard.set()
                self._tell_left(self._tracker)
                entry = self.backlog.wait(self.position, 0.1)
                if entry is not None:
                    self._tell(self._tracker, entry)
            except Refused as problem:
                self.refused.append(str(problem))
            except Exception as problem:  # whatever it is: the sweep doesn't notice, and the entry is told again
                self.problem = problem
                self._heard.set()
                tries = tries + 1 if self._tracker is not None and self._tracker.answers() else 0
                if entry is None or tries < TRIES:
                    self._over.wait(pause)
                    pause = min(2 * pause, LONGEST_PAUSE_S)
                    continue
                self._leave(problem)
            if entry is not None:
                self.position, self.problem, pause, tries = self.position + 1, None, self.pause_s, 0
                if time.monotonic() - self._marked > MARK_EVERY_S:
                    self._mark()

    def _leave(self, problem: Exception) -> None:
        """One entry must not keep all that come after it."""
        self.left.append(self.position)
        self.refused.append(f"{problem} It took others meanwhile, so that this one is left for another time.")

    def _tell_left(self, tracker: Tracker) -> None:
        """Try what an earlier process has left, once each."""
        if not self._try_left:
            return
        still = []
        for place in self.left:
            try:
                self._tell(tracker, self.backlog.entries[place])
            except Refused as problem:
                self.refused.append(str(problem))
            except Exception as problem:
                still.append(place)
                self.refused.append(str(problem))
        self.left, self._try_left = still, False

    def _tell(self, tracker: Tracker, entry: Mapping[str, Any]) -> None:
        if entry["do"] == "view":
            tracker.view(View.of(entry["spec"]), entry["time_ms"])
            return
        run = self._start(tracker, entry) if entry["do"] == "start" else self._id_of(tracker, entry["run"])
        self._tell_past(tracker)
        self._tell_of(tracker, run, entry)
        self._tell_past(tracker)

    def _tell_past(self, tracker: Tracker) -> None:
        while self._later:
            self._tell_of(tracker, self._ids[self._later[0]["run"]], self._later[0])
            del self._later[0]

    def _tell_of(self, tracker: Tracker, run: str, entry: Mapping[str, Any]) -> None:
        do, time_ms = entry["do"], entry["time_ms"]
        if do == "log":
            tracker.log(run, entry["step"], entry["metrics"], time_ms)
        elif do == "note":
            known = partial(self._id_or_key, tracker)
            tracker.note(run, {name: with_runs(text, known) for name, text in entry["tags"].items()})
        elif do == "artifact" and Path(entry["path"]).exists():
            tracker.artifact(run, Path(entry["path"]), entry["folder"])
        elif do == "dataset":
            tracker.dataset(run, DatasetSpec(**entry["spec"]))
        elif do == "model":
            tracker.model(run, ModelSpec(**entry["spec"]))
        elif do == "end":
            tracker.end(run, entry["status"], entry["error"], time_ms)

    def _start(self, tracker: Tracker, entry: Mapping[str, Any]) -> str:
        spec = dict(entry["spec"])
        if spec["parent"]:
            spec["parent"] = self._id_of(tracker, spec["parent"])
        self._ids[entry["run"]] = tracker.start(RunSpec(**spec), entry["time_ms"])
        return self._ids[entry["run"]]

    def _id_of(self, tracker: Tracker, run: str) -> str:
        return self._ids.get(run) or self._again(tracker, run)

    def _id_or_key(self, tracker: Tracker, run: str) -> str:
        try:
            return self._id_of(tracker, run)
        except Refused:
            return run

    def _again(self, tracker: Tracker, run: str) -> str:
        """A run that an earlier process has told of: it is started again, and will be noted and ended as it was since its last
        start, not at once, as its notes may name further such runs."""
        past = [entry for entry in self.backlog.entries[: self.position] if entry["run"] == run]
        starts = [place for place, entry in enumerate(past) if entry["do"] == "start"]
        if not starts:
            raise Refused(f"{run} was never started")
        id = self._start(tracker, past[starts[-1]])
        self._later += [entry for entry in past[starts[-1] :] if entry["do"] in ("note", "end")]
        return id

    def _known(self) -> dict[str, Any]:
        try:
            return json.loads(self._marks.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def _mark(self) -> None:
        self._marked = time.monotonic()
        known = {name: value for name, value in self._known().items() if name != f"{self._name}:left"}
        left = {f"{self._name}:left": self.left} if self.left else {}
        write_json(self._marks, known | {self._name: self.position} | left)
