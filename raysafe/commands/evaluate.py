"""`raysafe evaluate`: attack and score a checkpoint."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from raysafe.commands.base import Command, config_arguments, name_of, options, single


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a Hugging Face model or adapter folder, or `sandbox`")
    config_arguments(parser)
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="also write the scores there")


def run(arguments: Namespace) -> int:
    from rich.console import Console

    from raysafe.artifacts import write_json
    from raysafe.cluster.running import one_trial
    from raysafe.evaluation.metrics import rates_of
    from raysafe.report.scores import score_table
    from raysafe.stages.evaluate import EvaluateStage
    from raysafe.stages.inputs import model_ref
    from raysafe.trial import base_model, evaluation_plan, reference_stage

    config = single(arguments)
    given = model_ref(arguments.model, config.trials[0].config.model.chat_template)
    with one_trial(name_of(config), config, options(arguments)) as (groups, task):
        launch, one = groups.launcher(task.plan.name), task.plan.config
        base = base_model(one, task.inputs, launch)
        (reference,) = launch([reference_stage(one, task.inputs, base)])
        (scores,) = launch([EvaluateStage(given or base, evaluation_plan(one, task.inputs, base, reference))])
    metrics = rates_of(scores.result["metrics"])
    Console().print(score_table(arguments.model, metrics))
    if arguments.out:
        write_json(arguments.out, metrics)
    return 0


COMMAND = Command("attack and score a checkpoint", arguments, run)
