"""How often a sweep's answer claims a difference where there is none, and finds one where there is: docs/statistics.md's table.

python benchmarks/power.py                     # 200 made-up sweeps a cell: some minutes on one core
python benchmarks/power.py --sweeps 40
"""

import argparse
import itertools
from collections.abc import Iterable

import numpy as np

from raysafe.evaluation.intervals import wilson
from raysafe.report.effects import Effect, effects_of
from raysafe.report.prompts import ByPrompt, no_prompts
from raysafe.report.summary import TrialRow

GAMMAS, OBJECTIVES = (0.1, 0.2, 0.3, 0.4, 0.5), ("sft", "dpo")
FIGURE = "safety_score"


def made_up(
    random: np.random.Generator, seeds: int, effect: float = 0.0, prompts: int = 32, luck: float = 0.3, attacks: int = 1
) -> tuple[list[TrialRow], ByPrompt]:
    """A sweep of 5 × 2 settings. Every prompt has its own odds, which each level shifts in its own way, alike in all trials;
    every trial its own luck. Over all prompts nothing has an effect but the objective, which adds `effect` to the log-odds."""
    own = random.normal(-1, 2, prompts)
    shift = {level: random.normal(0, 0.7, prompts) for level in (*GAMMAS, *OBJECTIVES)}
    rows, values = [], {}
    for seed, gamma, objective in itertools.product(range(seeds), GAMMAS, OBJECTIVES):
        odds = own + shift[gamma] + shift[objective] + random.normal(0, luck) + effect * (objective == "dpo")
        hits = (random.random((attacks, prompts)) < 1 / (1 + np.exp(-odds))).mean(0)
        rate = wilson(float(hits.sum()), prompts)
        name = f"{seed} {gamma} {objective}"
        swept = {"selector.gamma": gamma, "objective.name": objective}
        figures = {FIGURE: rate.value, f"{FIGURE}_low": rate.low, f"{FIGURE}_high": rate.high, f"{FIGURE}_n": prompts}
        rows.append(TrialRow(name, "FINISHED", seed, swept, figures))
        values[name] = {f"prompt {place}": float(hit) for place, hit in enumerate(hits)}
    return rows, lambda trial, figure: values[trial]


def shown(rows: list[TrialRow], by_prompt: ByPrompt) -> list[Effect]:
    """What the answer calls a difference."""
    return [effect for effect in effects_of(rows, [FIGURE], by_prompt).effects if effect.shown]


def counted(sweeps: Iterable[tuple[list[TrialRow], ByPrompt]]) -> tuple[int, int, int, int]:
    """Of some sweeps: those that claim something of γ, and that find the objective, by prompts and by summaries alone."""
    counts = np.zeros(4, dtype=int)
    for rows, by_prompt in sweeps:
        for place, known in enumerate((by_prompt, no_prompts)):
            factors = {effect.factor for effect in shown(rows, known)}
            counts[2 * place : 2 * place + 2] += [("selector.gamma",) in factors, ("objective.name",) in factors]
    return tuple(map(int, counts))  # type: ignore[return-value]


def main(sweeps: int) -> None:
    print("| prompts | seeds | effect | false, by prompt | false, summaries | found, by prompt | found, summaries |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for prompts, seeds, effect in itertools.product((32, 150), (1, 2, 3, 5), (0.0, 0.7, 1.2, 2.0)):
        random = np.random.default_rng(seeds)
        paired_gamma, paired, plain_gamma, plain = counted(made_up(random, seeds, effect, prompts) for _ in range(sweeps))
        false = [f"{100 * count / sweeps:.0f} %" for count in (paired_gamma, plain_gamma)]
        if effect == 0:
            random = np.random.default_rng(seeds)
            every = [made_up(random, seeds, effect, prompts) for _ in range(sweeps)]
            counts = [sum(bool(shown(rows, by)) for rows, by in every), sum(bool(shown(rows, no_prompts)) for rows, _ in every)]
            false = [f"{100 * count / sweeps:.1f} %" for count in counts]
        found = [f"{100 * count / sweeps:.0f} %" if effect else "" for count in (paired, plain)]
        print("|", " | ".join([str(prompts), str(seeds), f"{effect:g}", *false, *found]), "|", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sweeps", type=int, default=200)
    main(parser.parse_args().sweeps)
