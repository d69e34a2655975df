"""`raysafe select`: rank and select only."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from raysafe.commands.base import Command, config_arguments, name_of, options, single, tell, unsafe_text


def arguments(parser: ArgumentParser) -> None:
    config_arguments(parser)
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.parquet", help="where the selection goes")


def run(arguments: Namespace) -> int:
    from rich.console import Console

    from raysafe.cluster.running import one_trial
    from raysafe.errors import ConfigError
    from raysafe.report.ranking_tables import print_diagnosis
    from raysafe.trial import begin, choice_of, diagnosis_of, rank_stage

    config = single(arguments)
    if arguments.out.suffix != ".parquet":
        raise ConfigError(f"--out takes a .parquet file, but got {arguments.out}.")
    with one_trial(name_of(config), config, options(arguments)) as (groups, task):
        launch, one = groups.launcher(task.plan.name, tell), task.plan.config
        ranking = launch(rank_stage(begin(one, task.inputs, launch))).wait()
    selection = choice_of(one, ranking).selection()
    selection.save(arguments.out)
    print_diagnosis(diagnosis_of(one, ranking), Console())
    print(f"{len(selection.rows)} of {selection.total} rows selected{unsafe_text(selection.unsafe_share)}: {arguments.out}")
    return 0


COMMAND = Command("rank and select only", arguments, run)
