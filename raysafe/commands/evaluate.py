"""`raysafe evaluate`: attack and score a checkpoint, or a model that is served elsewhere."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from raysafe.commands.base import LOADING, Command, begin_live, config_arguments, name_of, options, single, teller
from raysafe.commands.documents import plain_rates

if TYPE_CHECKING:
    from raysafe.config.trials import TrialConfig
    from raysafe.evaluation.served import ServedModel


def arguments(parser: ArgumentParser) -> None:
    what = (
        "a Hugging Face model or adapter folder, `sandbox`, `smollm2`, a .gguf file, `base` for what trials start from, or "
        "openai:NAME@URL for a model behind an OpenAI-compatible server"
    )
    parser.add_argument("model", metavar="MODEL", help=what)
    config_arguments(parser)
    parser.add_argument("--tokenizer", type=Path, metavar="FOLDER", help="of a served model, to ask it by token ids (prefill)")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="also write the scores there")


def run(arguments: Namespace) -> int:
    live, voice = begin_live(arguments), arguments.voice
    config = single(arguments)
    live.step(LOADING)
    from raysafe.artifacts import Store, write_json
    from raysafe.cluster.running import one_trial
    from raysafe.config.sections import BASE
    from raysafe.evaluation.bills import bills_of
    from raysafe.evaluation.exam import exam_of, smoke_test_notes
    from raysafe.models.fetched import untouched
    from raysafe.report.rates import rates_table
    from raysafe.stages.answers import AnswersRef
    from raysafe.stages.checks import check_asked
    from raysafe.stages.inputs import model_ref
    from raysafe.stages.served import ServedAnswersStage
    from raysafe.trial import begin, begin_reading, examine, judge_all, other_reference, reference_stage, with_readings

    trial = config.trials[0].config
    served = _served(arguments, trial)
    given = None
    if served is None and arguments.model != BASE:
        folder = untouched(arguments.model, Store(options(arguments).storage), live.step, "MODEL")
        given = model_ref(folder, trial.model.chat_template)
    with one_trial(name_of(config), config, options(arguments), live) as (groups, task):
        if given is not None:
            check_asked(task.plan.config, task.inputs.data(), given)
        launch = groups.launcher(task.plan.name, teller(live))
        start = begin(task.plan.config, task.inputs, launch)
        exam = exam_of(start.trial.evaluation, start.inputs.prompts)
        for note in smoke_test_notes(arguments.model, exam.judges):
            live.step(note)
        for judge, bill in bills_of(exam, 0).items():
            live.step(bill.line(judge))
        reference = other_reference(start, exam, groups.store, launch)
        reference = reference or AnswersRef.of(launch(reference_stage(start, exam)).wait())
        if served is not None:
            answers = AnswersRef.of(launch(ServedAnswersStage(served, exam.suites)).wait())
            metrics = judge_all(answers, exam, reference, launch).metrics
        else:
            model, base = given or start.model, start.model if given else None
            reads = begin_reading(model, exam, base, launch)
            metrics = with_readings(examine(model, exam, reference, launch), reads).metrics
    voice.out.print(rates_table(arguments.model, metrics))
    if arguments.out:
        write_json(arguments.out, metrics)
    rates = plain_rates(metrics)
    told = ("win_rate", "safety_score" if "safety_score" in rates else "coherence")  # without a word there is nothing to be safe
    line = ", ".join(f"{name} {rates[name]['value']:.2f}" for name in told if name in rates)
    voice.end({"model": arguments.model, "scores": rates}, f"{arguments.model}: {line}")
    return 0


def _served(arguments: Namespace, trial: TrialConfig) -> ServedModel | None:
    """The served model that is named, if one is; checked as far as it can be before anything starts."""
    from raysafe.errors import ConfigError
    from raysafe.evaluation.completions import completions_folder
    from raysafe.evaluation.exam import attacks_of, probes_of
    from raysafe.evaluation.served import SERVED, check_served, served_model

    evaluation = trial.evaluation
    if not arguments.model.startswith(SERVED):
        if arguments.tokenizer:
            raise ConfigError("--tokenizer is for a served model, openai:NAME@URL; any other brings its own.")
        return None
    served = served_model(arguments.model, evaluation.served, evaluation.max_new_tokens, arguments.tokenizer)
    kept = completions_folder(options(arguments).storage)
    check_served(served, attacks_of(evaluation, []), probes_of(evaluation, []), kept)
    return served


COMMAND = Command("attack and score a checkpoint", arguments, run)
