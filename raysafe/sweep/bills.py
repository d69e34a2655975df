"""What a sweep's paid judges may cost, told before it starts."""

from collections.abc import Iterable

from raysafe.artifacts import fingerprint
from raysafe.config.trials import TrialConfig
from raysafe.evaluation.bills import bills_of
from raysafe.evaluation.exam import exam_of
from raysafe.evaluation.judges.bill import Bill
from raysafe.stages.inputs import TrialInputs


def bill_lines(trials: Iterable[tuple[TrialConfig, TrialInputs]]) -> list[str]:
    """A line a judge and endpoint: all trials, and for each evaluation that they share the untrained model once. Answers that are
    equal, or were judged before, cost less; attempts that fail cost more."""
    total: dict[tuple[str, str], Bill] = {}
    known: dict[str, dict[str, Bill]] = {}
    for trial, inputs in trials:
        exam = exam_of(trial.evaluation, inputs.prompts)
        epochs = trial.training.epochs if trial.evaluation.each_epoch else 0
        key = fingerprint([exam.suites, exam.decoding, exam.judges, exam.epoch_prompts, epochs])
        first = key not in known
        if first:
            known[key] = bills_of(exam, epochs)
        for name, bill in known[key].items():
            place = name, bill.endpoint.account
            added = bill + bills_of(exam, 0)[name] if first and name == exam.judges[0].name else bill
            total[place] = total[place] + added if place in total else added
    return [bill.line(name) for (name, _), bill in total.items()]
