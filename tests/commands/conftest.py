"""A small finished sweep, made once without Ray: two gammas, two seeds, one of its trials with adapters."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from small import small_trial

from raysafe.artifacts import Store
from raysafe.config.sweeps import make_sweep
from raysafe.report.summary import SUMMARY, TrialRow, write_summary
from raysafe.report.table import BASE
from raysafe.sweep.events import TrialEnd
from raysafe.sweep.folder import claim, tasks_of
from raysafe.sweep.trial_record import TrialRecord
from raysafe.sweep.written import write_trial
from raysafe.trial import here, run_trial


@dataclass(frozen=True)
class Finished:
    """The sweep's folder, and its trials' names."""

    folder: Path
    trials: tuple[str, ...]


@pytest.fixture(scope="session")
def finished(model_folder, tmp_path_factory):
    """Its data are the sandbox's, its model a random one. Nobody may write into it."""
    storage = tmp_path_factory.mktemp("finished")
    grid = {"points": [{"selector.gamma": 0.05}, {"selector.gamma": 0.5, "model.lora": {"r": 2}}]}
    fast = {"training": {"epochs": 1}, "evaluation": {"each_epoch": False, "attacks": {"direct": {}, "prefill": {"tokens": [3]}}}}
    sweep = make_sweep(small_trial(model_folder, objective="sft", seeds=[0, 1], sweep=grid, data={"plant": 2}, **fast))
    folder, store = storage / sweep.name, Store(storage)
    tasks = tasks_of(sweep, folder, store)
    folder.mkdir()
    claim(sweep, folder, tasks)
    records = [TrialRecord(task.plan, task.folder) for task in tasks]
    for record, task in zip(records, tasks, strict=True):
        result = run_trial(task.plan.config, store, task.folder, here(store), task.inputs)
        record.status, record.result, record.started, record.ended = "FINISHED", TrialEnd(result).result, 1.0, 2.0
        write_trial(task.folder, sweep.name, task.plan.config, task.inputs)
    write_summary(folder / SUMMARY, [record.row() for record in records])
    write_summary(folder / BASE, [TrialRow("base 0", "FINISHED", 0, figures={"safety_score": 0.5})])
    return Finished(folder, tuple(task.plan.name for task in tasks))
