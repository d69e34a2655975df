"""`raysafe trial`: one trial, no sweep."""

from argparse import Namespace

from raysafe.commands.base import LOADING, Command, begin_live, config_arguments, name_of, options, single, teller, unsafe_text
from raysafe.commands.documents import plain_rates


def run(arguments: Namespace) -> int:
    live, voice = begin_live(arguments), arguments.voice
    config = single(arguments)
    live.step(LOADING)
    from raysafe.artifacts import write_json
    from raysafe.cluster.running import one_trial
    from raysafe.report.rates import rates_table
    from raysafe.sweep.written import write_trial
    from raysafe.trial import run_trial

    with one_trial(name_of(config), config, options(arguments), live) as (groups, task):
        launch = groups.launcher(task.plan.name, teller(live))
        result = run_trial(task.plan.config, groups.store, task.folder, launch, task.inputs)
    write_json(task.folder / "scores.json", result.metrics)
    write_trial(task.folder, config.name, task.plan.config, task.inputs)
    voice.out.print(rates_table(task.plan.name, result.metrics))
    kept = {name: getattr(result, name) for name in ("selected_rows", "unsafe_selected", "ranking_auc", "safeinstr_rows")}
    document = {"trial": task.plan.name, "folder": str(task.folder), **kept, "scores": plain_rates(result.metrics)}
    kept_line = f"{result.selected_rows} rows selected{unsafe_text(result.unsafe_selected)}"
    broken = [one.text for one in result.broken]
    for text in broken:
        voice.err.print(text, style="yellow", highlight=False, markup=False, soft_wrap=True)
    voice.end(document | {"guards": broken}, f"results   {task.folder}", kept_line)
    return int(any(one.do == "fail" for one in result.broken))


COMMAND = Command("run one trial; a `sweep` section in the file is left aside", config_arguments, run)
