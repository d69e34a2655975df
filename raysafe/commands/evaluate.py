"""`raysafe evaluate`: attack and score a checkpoint."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from raysafe.commands.base import LOADING, Command, begin_live, config_arguments, name_of, options, single, teller
from raysafe.commands.documents import plain_rates


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a Hugging Face model or adapter folder, or `sandbox`")
    config_arguments(parser)
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="also write the scores there")


def run(arguments: Namespace) -> int:
    live, voice = begin_live(arguments), arguments.voice
    config = single(arguments)
    live.step(LOADING)
    from raysafe.artifacts import write_json
    from raysafe.cluster.running import one_trial
    from raysafe.evaluation.exam import exam_of
    from raysafe.report.rates import rates_table
    from raysafe.stages.answers import AnswersRef
    from raysafe.stages.checks import check_asked
    from raysafe.stages.inputs import model_ref
    from raysafe.trial import begin, examine, reference_stage

    given = model_ref(arguments.model, config.trials[0].config.model.chat_template)
    with one_trial(name_of(config), config, options(arguments), live) as (groups, task):
        if given is not None:
            check_asked(task.plan.config, task.inputs.data(), given)
        launch = groups.launcher(task.plan.name, teller(live))
        start = begin(task.plan.config, task.inputs, launch)
        exam = exam_of(start.trial.evaluation, start.inputs.prompts)
        reference = AnswersRef.of(launch(reference_stage(start, exam)).wait())
        metrics = examine(given or start.model, exam, reference, launch).metrics
    voice.out.print(rates_table(arguments.model, metrics))
    if arguments.out:
        write_json(arguments.out, metrics)
    rates = plain_rates(metrics)
    line = ", ".join(f"{name} {rates[name]['value']:.2f}" for name in ("win_rate", "safety_score") if name in rates)
    voice.end({"model": arguments.model, "scores": rates}, f"{arguments.model}: {line}")
    return 0


COMMAND = Command("attack and score a checkpoint", arguments, run)
