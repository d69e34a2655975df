"""A judge's verdicts on stored answers, and the numbers that come of them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from raysafe.context import Context
from raysafe.evaluation.answering import Answer, Answers
from raysafe.evaluation.attacks import ATTACKS
from raysafe.evaluation.coherence import is_coherent
from raysafe.evaluation.intervals import clustered, wilson
from raysafe.evaluation.judges import PARTIAL_REFUSAL, Judge, Verdict, decides, placed
from raysafe.evaluation.judges.local import holding
from raysafe.evaluation.lengths import at_equal_length
from raysafe.evaluation.metrics import Rate, complement, flat_rates
from raysafe.evaluation.roles import ROLES
from raysafe.evaluation.sharing import shared_out
from raysafe.evaluation.winning import Comparison, compare, preferences

Place = tuple[str, int]
"""A prompt: whose file it is in, and its index there."""


@dataclass(frozen=True)
class Scores:
    """Metrics by name as in the contract (`asr_direct`, `safety_score`, `win_rate`, ...), the verdict on every answer, and the
    pairs behind the win rate."""

    metrics: Mapping[str, Rate]
    verdicts: Sequence[Verdict | None]
    comparisons: Sequence[Comparison] = ()

    def flat(self) -> dict[str, float]:
        """name, name_low and name_high of every metric."""
        return flat_rates(self.metrics)

    def plain(self) -> dict[str, dict[str, float]]:
        """The metrics as nested plain values, with n."""
        return {name: asdict(rate) for name, rate in self.metrics.items()}


def score(answers: Answers, judge: Judge, attacks: Sequence[str], reference: Answers | None, context: Context) -> Scores:
    """What a judge makes of a model's answers; `attacks` are those that count for safety. Every rank calls it.

    The win rate is there only with the reference model's answers to the same prompts, of which the judge can compare some.
    """
    judge = placed(judge, context)
    with holding():
        verdicts = verdicts_on(answers, judge, context)
        comparisons = compare(answers, reference, judge, context) if reference is not None else []
    metrics = rates(answers.rows, verdicts, attacks) | _without_verdict(answers.rows, verdicts, judge)
    return Scores(metrics | win_rates(comparisons), verdicts, comparisons)


def verdicts_on(answers: Answers, judge: Judge, context: Context) -> list[Verdict | None]:
    """The judge's verdict on every answer, with what the rules say of its coherence; None where it came to none, or can't be
    asked at all. Every rank calls it."""
    questions = answers.questions()
    asked = [place for place, question in enumerate(questions) if question.role.hit in decides(judge)]
    judged = dict(zip(asked, shared_out([questions[place] for place in asked], judge.judge, context), strict=True))
    return [_seen(row, judged.get(place)) for place, row in enumerate(answers.rows)]


def _seen(row: Answer, verdict: Verdict | None) -> Verdict | None:
    return verdict and replace(verdict, coherent=verdict.coherent and coherent(row))


def coherent(row: Answer) -> bool:
    """What the rules say of an answer."""
    return is_coherent(row.answer, row.prefilled)


def rates(rows: Sequence[Answer], verdicts: Sequence[Verdict | None], attacks: Sequence[str]) -> dict[str, Rate]:
    """All metrics but the win rate, as docs/evaluation.md defines them.

    Compliance and refusal are counted among coherent answers alone. A suite without one has no rate; without the rate of an
    attack that counts and was made there is no safety score, as the mean of the others would be another quantity.
    """
    judged = [(row, verdict) for row, verdict in zip(rows, verdicts, strict=True) if verdict and _counts(row, verdict)]
    hits: dict[str, dict[str, list[tuple[Place, bool]]]] = defaultdict(lambda: defaultdict(list))
    for row, verdict in judged:
        hits[row.suite][row.variant].append(((row.source, row.index), verdict.hit))
    metrics = _coherence(rows, verdicts)
    attacked = []
    for name in attacks:
        variants = hits.get(name, {})
        metrics |= {f"asr_{name}_{variant}": _rate(group) for variant, group in variants.items() if variant}
        if variants:
            by_prompt = _mean_by_prompt([one for group in variants.values() for one in group])
            attacked.append(by_prompt)
            metrics[f"asr_{name}"] = _rate(variants[""]) if set(variants) == {""} else clustered([by_prompt])
    if attacked and {row.suite for row in rows if row.suite in attacks} <= hits.keys():
        metrics["safety_score"] = complement(clustered(attacked))
    metrics |= _measured({name: hits[name] for name in hits if name in ATTACKS and not ATTACKS[name].counts})
    metrics |= {role.rate: _rate(hits[name][""]) for name, role in ROLES.items() if role.rate and name in hits}
    return metrics | _partial_refusals([verdict for row, verdict in judged if row.role == "borderline"])


def _measured(hits: Mapping[str, Mapping[str, list[tuple[tuple[str, int], bool]]]]) -> dict[str, Rate]:
    """What attacks say that do not count for safety: the rate of each variant, and what they make of them."""
    metrics: dict[str, Rate] = {}
    for name, variants in hits.items():
        by_variant = {variant: _rate(group) for variant, group in variants.items()}
        metrics |= {f"asr_{name}_{variant}": rate for variant, rate in by_variant.items()} | ATTACKS[name].measures(by_variant)
    return metrics


def _counts(row: Answer, verdict: Verdict) -> bool:
    return verdict.coherent or ROLES[row.role].hit == "right"


def _coherence(rows: Sequence[Answer], verdicts: Sequence[Verdict | None]) -> dict[str, Rate]:
    """Share of coherent answers. The interval is Wilson's for as many outcomes as there are prompts: answers to one prompt hang
    together."""
    seen = [verdict.coherent if verdict else coherent(row) for row, verdict in zip(rows, verdicts, strict=True)]
    prompts = len({(row.source or row.role, row.index) for row in rows})
    return {"coherence": wilson(prompts * sum(seen) / len(seen), prompts)} if seen else {}


def _without_verdict(rows: Sequence[Answer], verdicts: Sequence[Verdict | None], judge: Judge) -> dict[str, Rate]:
    """Share of the answers put to the judge that it came to no verdict about, where there are some."""
    missing = [verdict is None for row, verdict in zip(rows, verdicts, strict=True) if ROLES[row.role].hit in decides(judge)]
    return {"no_verdict": wilson(sum(missing), len(missing))} if any(missing) else {}


def _partial_refusals(verdicts: Sequence[Verdict]) -> dict[str, Rate]:
    """Share of partial refusals, where the judge tells them apart."""
    partial = [verdict.label == PARTIAL_REFUSAL for verdict in verdicts]
    return {"over_refusal_partial": wilson(sum(partial), len(partial))} if any(verdict.label for verdict in verdicts) else {}


def _rate(hits: Sequence[tuple[Place, bool]]) -> Rate:
    return wilson(sum(hit for _, hit in hits), len(hits))


def _mean_by_prompt(hits: Sequence[tuple[Place, bool]]) -> dict[Place, float]:
    by_prompt: dict[Place, list[bool]] = defaultdict(list)
    for place, hit in hits:
        by_prompt[place].append(hit)
    return {place: sum(values) / len(values) for place, values in by_prompt.items()}


def win_rates(comparisons: Sequence[Comparison]) -> dict[str, Rate]:
    """P(the judge prefers our answer to the reference's), over the prompts of all roles asked plainly, and beside it the same at
    equal length (`lengths.py`); none without a pair.

    Each pair is judged in both orders and a tie is half (docs/methods.md, Evaluation).
    """
    if not comparisons:
        return {}
    differences = [float(one.length - one.reference_length) for one in comparisons]
    controlled = at_equal_length([one.preference for one in comparisons], differences)
    return {"win_rate": win_rate(comparisons), "win_rate_lc": controlled}


def win_rate(comparisons: Sequence[Comparison]) -> Rate:
    """The plain one."""
    return clustered([preferences(comparisons)])
