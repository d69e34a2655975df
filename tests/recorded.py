"""A small sweep as a tracker is told of it, by the sweep's own classes, without Ray: what users get, in a second."""

import json
from itertools import count

import tiny

from raysafe.artifacts import Store, plain, write_json
from raysafe.config.sweeps import make_sweep
from raysafe.data.records import EvalPrompt, Identity, Message
from raysafe.data.references import DataRef
from raysafe.evaluation.answering import Answer, Answers, write_lines
from raysafe.evaluation.metrics import Rate
from raysafe.ranking.diagnosis import DIAGNOSIS_FILE, diagnose
from raysafe.ranking.tables import Ranking, keep_top
from raysafe.stages.inputs import TrialInputs
from raysafe.sweep.events import JobChanged, JobState, PointTold, TrialEnded
from raysafe.sweep.tracked import SweepEnd, TrackedRuns
from raysafe.sweep.trial_record import TrialRecord
from raysafe.tracking import Backlog, Teller
from raysafe.trial import TrialResult

ROWS = [tiny.example(i, response=f"answer {i}", unsafe=i % 5 == 0) for i in range(20)]
RANKING = Ranking.of(ROWS, list(range(20)), {})
GRID = {"selector.gamma": [0.1, 0.5], "selection.percent": [50, 80], "objective": ["sft", "wdoor"]}
SETTINGS = ["gamma", "percent", "objective"]
FIGURES = ["win_rate", "safety_score", "asr_direct", "asr_prefill", "over_refusal", "utility", "new_tasks"]
PROMPT, SAID = "How is a cake baked?", "I can't tell you how cakes are baked."
EPOCHS = 3


class Recording:
    """`told` tells a tracker the whole sweep, in the order in which a real one would."""

    def __init__(self, tracker, storage, grid=None, name="recorded"):
        self.sweep = make_sweep({"name": name, "question": "What moves safety?", "sweep": {"grid": grid or GRID}})
        self.store, self.folder, self.clock = Store(storage), storage / name, count(1_700_000_000)
        path = storage / "rows.jsonl"
        lines = ({"prompt": row.prompt[-1].content, "response": row.response} for row in ROWS)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        self.data = DataRef(diagnose(RANKING).fingerprint, str(path), rows=len(ROWS))
        self.runs = TrackedRuns(tracker, self.store, log_text=True)
        self.rows = []

    def told(self):
        """Tell everything."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "sweep.yaml").write_text("name: recorded\n")
        self.runs.start_sweep(self.sweep, self.folder)
        self._made("answers", "said", self._answers)
        self._made("verdicts", "phrases", self._verdicts)
        for plan in self.sweep.trials:
            self.trial(plan)
        (self.folder / "report.html").write_text("<h1>What moves safety</h1>")
        self.runs.rankings(self.folder, [], {})
        self.runs.end_sweep(self.sweep, SweepEnd("FINISHED", self.folder, self.rows, {}))
        return self

    def trial(self, plan):
        """A trial from its ranking to its end."""
        gamma = plan.config.selector.gamma
        rank = f"rank-gamma{gamma}"
        if rank not in self.runs.shared.runs:
            self.ranking(rank, gamma)
        jobs = {rank: "rank", "answers-said": "answers", "verdicts-phrases": "verdicts", "train-1": "train"}
        trial = TrialRecord(plan, self.folder / "trials" / plan.name, asked=jobs, started=next(self.clock))
        self.runs.start_trial(trial, TrialInputs(None, self.data, None, None, {}), trial.started)
        keep_top(RANKING, plan.config.selection.percent or 80).save(trial.folder / "selection.parquet")
        for epoch in range(1, EPOCHS + 1):
            metrics = {"epoch": epoch, "train/loss": gamma + 1 / epoch, "train/align_loss": 1 / epoch, "train/retain_loss": gamma}
            trial.note(10 * epoch, metrics)
            self.runs.trial_point(trial, PointTold(next(self.clock), "train-1", "train", 10 * epoch, metrics, plan.name))
        rate = (len(self.rows) + 1) / (len(self.sweep.trials) + 1)
        scores = {name: Rate((rate + place / 7) % 1, 0.0, 1.0, 32) for place, name in enumerate(FIGURES)}
        trial.status, trial.ended = "FINISHED", next(self.clock)
        trial.result = TrialResult(scores, 10, 0.1, 0.9, self.store.artifact("train", plan.name))
        self.runs.end_trial(trial, TrialEnded(trial.ended, plan.name, "FINISHED", trial.result))
        self.rows.append(trial.row())

    def ranking(self, job, gamma):
        """A shared ranking stage, with its curve."""
        selector = {"name": "seal", "gamma": gamma, "epochs": EPOCHS}
        inputs = {
            "selector": selector,
            "seed": 0,
            "model": {"folder": "/m", "key": "k"},
            "finetune": plain(self.data),
            "safe": None,
        }

        def files(folder, result):
            write_json(folder / DIAGNOSIS_FILE, diagnose(RANKING))
            write_json(folder / "history.json", [{"step": EPOCHS, "metrics": {}}])
            result.update(rows=len(ROWS), planted=0)

        self._made(*job.split("-"), files, inputs)
        self.runs.shared.changed(self._changed(job, JobState.RUNNING))
        for epoch in range(1, EPOCHS + 1):
            metrics = {"selector/safe_loss": 1 / epoch, "selector/finetune_loss": 2 / epoch, "selector/auc": 0.9 - 0.1 / epoch}
            self.runs.shared.point(PointTold(next(self.clock), job, "rank", epoch, metrics))
        self.runs.shared.changed(self._changed(job, JobState.DONE))

    def _changed(self, job, state):
        return JobChanged(next(self.clock), job, "rank", True, (), state)

    def _made(self, kind, key, files, inputs=None):
        with self.store.making(kind, key, inputs or {}) as (folder, result):
            files(folder, result)

    def _answers(self, folder, result):
        prompts = {("harmful", 0): EvalPrompt(Identity("p", 0), (Message("user", PROMPT),))}
        Answers((Answer("direct", "harmful", "", 0, "hash", "", SAID),), prompts).save(folder)

    def _verdicts(self, folder, result):
        write_lines(folder / "verdicts.jsonl", [{"hit": False}])
        result["judge"] = {"name": "phrases"}


def written(storage, **how):
    """A sweep's backlog, of which nobody has been told."""
    backlog = Backlog(storage / "recorded")
    Recording(backlog, storage, **how).told()
    return backlog


def record(tracker, storage):
    """Tell a tracker a whole sweep by way of a backlog, as a sweep does."""
    teller = Teller(written(storage), "here", lambda: tracker)
    teller.begin()
    assert teller.drain(120.0) and teller.refused == []
