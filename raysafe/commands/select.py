"""`raysafe select`: rank and select only."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from raysafe.commands.base import LOADING, Command, begin_live, config_arguments, name_of, options, single, teller, unsafe_text
from raysafe.errors import ConfigError


def arguments(parser: ArgumentParser) -> None:
    config_arguments(parser)
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.parquet", help="where the selection goes")


def run(arguments: Namespace) -> int:
    if arguments.out.suffix != ".parquet":
        raise ConfigError(f"--out takes a .parquet file, but got {arguments.out}.")
    live, voice = begin_live(arguments), arguments.voice
    config = single(arguments)
    live.step(LOADING)
    from raysafe.cluster.running import one_trial
    from raysafe.report.ranking_tables import print_diagnosis
    from raysafe.trial import begin, choice_of, diagnosis_of, rank_stage

    with one_trial(name_of(config), config, options(arguments), live) as (groups, task):
        launch, one = groups.launcher(task.plan.name, teller(live)), task.plan.config
        ranking = launch(rank_stage(begin(one, task.inputs, launch))).wait()
    selection, diagnosis = choice_of(one, ranking).selection(), diagnosis_of(one, ranking)
    selection.save(arguments.out)
    print_diagnosis(diagnosis, voice.out)
    kept, unsafe = len(selection.rows), selection.unsafe_share
    document = {"file": str(arguments.out), "selected": kept, "rows": selection.total, "unsafe_selected": unsafe}
    line = f"{kept} of {selection.total} rows selected{unsafe_text(unsafe)}: {arguments.out}"
    voice.end(document | {"diagnosis": diagnosis}, line)
    return 0


COMMAND = Command("rank and select only", arguments, run)
