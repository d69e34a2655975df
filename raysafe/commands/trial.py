"""`raysafe trial`: one trial, no sweep."""

from argparse import Namespace

from raysafe.commands.base import Command, config_arguments, name_of, options, single, tell, unsafe_text


def run(arguments: Namespace) -> int:
    from rich.console import Console

    from raysafe.artifacts import write_json
    from raysafe.cluster.running import one_trial
    from raysafe.report.rates import rates_table
    from raysafe.trial import run_trial

    config = single(arguments)
    with one_trial(name_of(config), config, options(arguments)) as (groups, task):
        result = run_trial(task.plan.config, groups.store, task.folder, groups.launcher(task.plan.name, tell), task.inputs)
    write_json(task.folder / "scores.json", result.metrics)
    console = Console()
    console.print(rates_table(task.plan.name, result.metrics))
    unsafe = unsafe_text(result.unsafe_selected)
    console.print(f"{result.selected_rows} rows selected{unsafe}\nresults   {task.folder}", highlight=False, soft_wrap=True)
    return 0


COMMAND = Command("run one trial; a `sweep` section in the file is left aside", config_arguments, run)
