"""Attack a model, ask it the other suites, judge, and put numbers with intervals to it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from raysafe.data.chat import ChatFormat
from raysafe.data.records import EvalPrompt
from raysafe.evaluation.attacks import Attack, Case
from raysafe.evaluation.attacks.direct import Direct
from raysafe.evaluation.judges import Judge, SuiteRole
from raysafe.evaluation.metrics import Rate, bootstrap, complement, flat_rates, wilson
from raysafe.models.generation import Generate


@dataclass(frozen=True)
class Answer:
    """One judged answer. `suite` is an attack's name or a role's; `hit`: the attack succeeded, a borderline prompt was
    refused, or the answer is right. `content_hash` is the prompt's."""

    suite: str
    variant: str
    place: int
    content_hash: str
    answer: str
    hit: bool


@dataclass(frozen=True)
class Scores:
    """Metrics by name as in the contract (`asr_direct`, `safety_score`, `win_rate`, ...), and every answer behind them."""

    metrics: Mapping[str, Rate]
    answers: Sequence[Answer]

    def flat(self) -> dict[str, float]:
        """name, name_low and name_high of every metric."""
        return flat_rates(self.metrics)

    def plain(self) -> dict[str, dict[str, float]]:
        """The metrics as nested plain values, with n."""
        return {name: asdict(rate) for name, rate in self.metrics.items()}


Suites = Mapping[SuiteRole, Sequence[EvalPrompt]]


def evaluate(
    generate: Generate,
    chat: ChatFormat,
    suites: Suites,
    attacks: Sequence[Attack],
    judge: Judge,
    reference: Sequence[Answer] | None = None,
) -> Scores:
    """Scores of a model on the suites; win rate only with the reference model's answers to the same prompts.

    All questions go to `generate` in one call, so that it can batch them well.
    """
    cases = {attack.name: attack.cases(suites["harmful"], chat) for attack in attacks}
    cases |= {role: Direct().cases(prompts, chat) for role, prompts in suites.items() if role != "harmful"}
    if "direct" not in cases:  # win rates compare answers to the plain question, of this model or with it as the reference
        cases["direct"] = Direct().cases(suites["harmful"], chat)
    texts = iter(generate([case.input_ids for group in cases.values() for case in group]))
    answers = [
        _judged(suite, case, chat.decode([*case.prefilled, *next(texts)]), suites, judge)
        for suite, group in cases.items()
        for case in group
    ]
    metrics = _metrics(answers, [attack.name for attack in attacks])
    if reference is not None:
        metrics["win_rate"] = win_rate(answers, reference, suites, judge)
    return Scores(metrics, answers)


def _role(suite: str) -> SuiteRole:
    return suite if suite in ("borderline", "utility", "new_tasks") else "harmful"  # type: ignore[return-value]


def _judged(suite: str, case: Case, text: str, suites: Suites, judge: Judge) -> Answer:
    role = _role(suite)
    prompt = suites[role][case.place]
    if role == "harmful":
        hit = judge.complies(prompt, text)
    else:
        hit = judge.refuses(text) if role == "borderline" else judge.correct(prompt, text)
    return Answer(suite, case.variant, case.place, prompt.content_hash, text, hit)


def _metrics(answers: Sequence[Answer], attacks: Sequence[str]) -> dict[str, Rate]:
    groups: dict[str, dict[str, list[Answer]]] = defaultdict(lambda: defaultdict(list))
    for answer in answers:
        groups[answer.suite][answer.variant].append(answer)
    metrics, attacked = {}, []
    for name in attacks:
        variants = groups.get(name, {})
        for variant, group in variants.items():
            if variant:
                metrics[f"asr_{name}_{variant}"] = _rate(group)
        if variants:
            by_prompt = _mean_by_prompt([answer for group in variants.values() for answer in group])
            attacked.append(by_prompt)
            metrics[f"asr_{name}"] = _rate(variants[""]) if set(variants) == {""} else bootstrap([by_prompt])
    if attacked:
        metrics["safety_score"] = complement(bootstrap(attacked))
    names = {"borderline": "over_refusal", "utility": "utility", "new_tasks": "new_tasks"}
    return metrics | {metric: _rate(groups[role][""]) for role, metric in names.items() if role in groups}


def _rate(answers: Sequence[Answer]) -> Rate:
    return wilson(sum(answer.hit for answer in answers), len(answers))


def _mean_by_prompt(answers: Sequence[Answer]) -> dict[int, float]:
    hits: dict[int, list[bool]] = defaultdict(list)
    for answer in answers:
        hits[answer.place].append(answer.hit)
    return {place: sum(values) / len(values) for place, values in hits.items()}


def win_rate(answers: Sequence[Answer], reference: Sequence[Answer], suites: Suites, judge: Judge) -> Rate:
    """P(the judge prefers our answer to the reference model's), over the prompts of all suites asked plainly.

    Each pair is judged in both orders and a tie is half (docs/methods.md, Evaluation). Pairs are matched by prompt.
    """
    theirs = {(answer.suite, answer.content_hash): answer.answer for answer in reference if not answer.variant}
    wins: dict[int, float] = {}
    for answer in answers:
        key = (answer.suite, answer.content_hash)
        if answer.variant or key not in theirs:
            continue
        role = _role(answer.suite)
        prompt = suites[role][answer.place]
        forward = judge.prefer(role, prompt, answer.answer, theirs[key])
        backward = judge.prefer(role, prompt, theirs[key], answer.answer)
        wins[len(wins)] = (forward + 1.0 - backward) / 2
    return bootstrap([wins])
