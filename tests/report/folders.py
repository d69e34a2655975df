"""Sweeps' folders for the tests of the report, made without running anything: `a_sweep(folder)`."""

import itertools
import json
from pathlib import Path

import tiny
import yaml

from raysafe.evaluation.answering import Answers
from raysafe.evaluation.by_prompt import TABLE, PromptTable
from raysafe.ranking.tables import Ranking, keep_top
from raysafe.report.summary import TrialRow, write_summary

RATES = ("asr_direct", "over_refusal", "utility", "new_tasks")


def combinations(gammas=(0.1, 0.5), percents=(70, 80), objectives=("sft", "wdoor"), seeds=(0, 1)):
    """(gamma, p, objective, seed) of every trial."""
    return list(itertools.product(gammas, percents, objectives, seeds))


def a_trial(number: int) -> str:
    """A trial's name."""
    return f"{number:03}-trial"


def a_sweep(folder: Path, trials=None, ended: int | None = None, only_summary: bool = False, rows: int = 40) -> None:
    """What a sweep leaves: W-DOOR closes the hole of prefilling, gamma and p do next to nothing.

    trials: as `combinations` gives them. ended: trials so far. rows: of D.
    """
    trials = trials or combinations()
    summary = [_row(number, *trial) for number, trial in enumerate(trials)]
    folder.mkdir(parents=True)
    write_summary(folder / "summary.csv", summary[:ended])
    base = TrialRow("base 0", "FINISHED", 0, figures=_rated("safety_score", 0.5) | _rated("utility", 1.0))
    write_summary(folder / "base.csv", [base])
    if only_summary:
        return
    configs = {a_trial(number): _config(*trial) for number, trial in enumerate(trials)}
    _write_sweep_yaml(folder, configs)
    _write_backlog(folder, trials[:ended])
    _write_rank_artifacts(folder.parent / "artifacts" / "rank", sorted({(trial[0], trial[3]) for trial in trials}))
    for (name, config), trial in list(zip(configs.items(), trials, strict=True))[:ended]:
        _write_trial(folder / "trials" / name, config, trial, rows)


def _rated(name, value, half=0.05, n=32):
    ends = {f"{name}_low": max(0.0, value - half), f"{name}_high": min(1.0, value + half)}
    return {name: value, **ends, f"{name}_n": n}


def _read(name, value, half=1.5, n=32):
    return {name: value, f"{name}_low": value - half, f"{name}_high": value + half, f"{name}_n": n}


def _row(number, gamma, percent, objective, seed):
    closed = objective == "wdoor"
    luck = ((number * 7) % 5 - 2) / 100
    figures = _rated("win_rate", 0.54 + luck) | _rated("safety_score", 0.98 if closed else 0.52 + luck)
    figures |= _rated("asr_prefill", 0.02 if closed else 0.95 + luck)
    for name in RATES:
        figures |= _rated(name, {"utility": 0.97, "new_tasks": 0.4 + gamma / 10 + luck}.get(name, 0.03))
    figures |= _read("refusal_margin", 6.0 if closed else -9.0 + luck) | _read("kl_depth", 0.75)
    figures |= {"epochs": 2, "wall_s": 12.5, "selected_rows": 4 * percent // 10, "ranking_auc": 0.9}
    figures |= {"seconds_train": 4.0, "seconds_rank": 5.0 if number % 4 == 0 else 0.0, "seconds_saved": 6.0}
    swept = {"selector.gamma": gamma, "selection.percent": percent, "objective.name": objective}
    return TrialRow(a_trial(number), "FINISHED", seed, swept, figures)


def _config(gamma, percent, objective, seed):
    return {
        "model": {"path": "models/tiny"}, "data": {"finetune": "data.jsonl", "safe": "safe.jsonl"}, "sandbox": {"seed": seed},
        "selector": {"name": "seal", "gamma": gamma}, "selection": {"percent": percent, "file": None},
        "objective": {"name": objective}, "training": {"epochs": 2}, "seed": seed,
        "evaluation": {"attacks": {"direct": {}, "prefill": {"tokens": [1, 5]}}, "judge": "phrases"},
    }  # fmt: skip


def _write_sweep_yaml(folder, configs):
    head = {
        "name": folder.name, "question": "Does <gamma> matter?", "seeds": [0, 1], "fingerprint": "feedfeedfeedfeed",
        "versions": {"raysafe": "0.1.0", "torch": "2.13.0"}, "datasets": {"finetune": {"data.jsonl": "0123456789abcdef"}},
    }  # fmt: skip
    (folder / "sweep.yaml").write_text(yaml.safe_dump({**head, "trials": configs}, sort_keys=False))


def _write_backlog(folder, trials):
    began = 1_795_563_413_000
    entries = [{"do": "start", "run": f"sweep:{folder.name}", "spec": {}}]
    for key in dict.fromkeys((gamma, seed) for gamma, _, _, seed in trials):
        entries.append({"do": "start", "run": f"stage:{_rank_key(*key)}", "spec": {"stage": "rank"}})
    entries.append({"do": "start", "run": "stage:feed", "spec": {"stage": "base readings"}})
    entries.append({"do": "log", "run": "stage:feed", "step": 1, "metrics": {"eval/refusal_margin_0": 8.0}})
    for number, (gamma, _, objective, _) in enumerate(trials):
        for step in (20, 40):
            loss = {"train/loss": 4 / step + gamma, "train/retain_loss": 2 / step, "eval/safety_score": step / 40}
            final = {"eval/asr_prefill_1": 0.1, "eval/asr_prefill_5": 0.0 if objective == "wdoor" else 0.9} if step == 40 else {}
            final |= {"eval/kl_depth_1": 0.5, "eval/kl_depth_2": 0.1, "eval/refusal_margin_0": 4.0} if step == 40 else {}
            entries.append({"do": "log", "run": f"trial:{a_trial(number)}", "step": step, "metrics": loss | final})
    lines = (json.dumps({"time_ms": began + 1000 * place, **entry}) for place, entry in enumerate(entries))
    (folder / "tracking.jsonl").write_text("".join(f"{line}\n" for line in lines))


def _rank_key(gamma, seed):
    return f"{round(gamma * 10_000):08}{seed:08}"


def _write_rank_artifacts(root, made):
    quantiles = {"count": 20, "mean": 0.0, "std": 1.0, "min": -2, "q5": -1, "q25": -0.5, "q50": 0, "q75": 0.5, "q95": 1, "max": 2}
    for gamma, seed in made:
        home = root / _rank_key(gamma, seed)
        home.mkdir(parents=True, exist_ok=True)
        inputs = {"selector": {"name": "seal", "gamma": gamma}, "seed": seed}
        steps = [(step, {"selector/safe_loss": 1 / step, "selector/auc": 1 - 1 / step}) for step in (10, 20)]
        spread = {"selector/weight_min": 0.5, "selector/weight_max": 1.5}
        (home / "manifest.json").write_text(json.dumps({"inputs": inputs}))
        (home / "history.json").write_text(json.dumps([{"step": step, "metrics": metrics | spread} for step, metrics in steps]))
        (home / "diagnostics.json").write_text(json.dumps({"scores": {"source": {"a.jsonl": quantiles, "b.jsonl": quantiles}}}))


def _write_trial(folder, config, trial, count):
    gamma, percent, _, seed = trial
    rows = [tiny.example(i, response=f"world {seed} {i}", unsafe=i % 4 == 0) for i in range(count)]
    scores = [float((i * (7 + int(gamma * 1000)) + seed) % count) - count / 2 * (i % 4 == 0) for i in range(count)]
    keep_top(Ranking.of(rows, scores, {}), percent).save(folder / "selection.parquet")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    _write_verdicts(folder / TABLE, seed)


def _write_verdicts(path, seed):
    """Two judges on eight answers to each of two suites, who differ about one of them."""
    rows = [
        {"judge": judge, "plain": judge == "phrases", "suite": suite, "role": "harmful", "index": i, "content_hash": f"{i}"}
        | {"kind": "first" if i < 4 else "second"}
        | {"hit": i % 2 == seed if judge == "phrases" or i else i % 2 != seed}
        for judge in ("phrases", "strict") for suite in ("direct", "prefill") for i in range(8)
    ]  # fmt: skip
    PromptTable.of(Answers((), {}), [], ("direct", "prefill")).with_rows(rows).save(path)
