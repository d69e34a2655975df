"""A model whose answers are known beforehand, and what it takes to ask and judge it."""

import tiny

from raysafe.context import local_context
from raysafe.data.records import EvalPrompt, Identity
from raysafe.evaluation.answering import ask
from raysafe.evaluation.attacks import Direct, Victim
from raysafe.evaluation.judges import JUDGES
from raysafe.evaluation.judging import score
from raysafe.evaluation.suites import suites_of

CHAT = tiny.chat("chatml")
REFUSAL, COMPLIANCE = "I'm sorry, no.", "Gladly."
ALONE = local_context()
PLAIN = (Direct(),)


class Rows:
    """Prompts at hand, in place of a file of them."""

    halves = False

    def __init__(self, *rows):
        self.rows = list(rows)

    def prompts(self):
        return self.rows


def rows(name, count, **fields):
    return Rows(*(EvalPrompt(Identity(name, i), tiny.ask(f"{name} {i}"), **fields) for i in range(count)))


def model(answer):
    """A generate function that reads the prompt and answers as `answer(text)` says; `calls` has the size of every call."""

    def generate(batch):
        generate.calls.append(len(batch))
        return [CHAT.tokenizer(answer(CHAT.tokenizer.decode(ids)))["input_ids"] for ids in batch]

    generate.calls = []
    return generate


def victim(generate):
    """A model of which answers are all that can be had."""
    return Victim(None, CHAT, generate, ALONE)


def named(*attacks):
    return {attack.name: attack for attack in attacks}


def answers_of(answer, data, attacks=PLAIN, max_prompts=None):
    return ask(suites_of(named(*attacks), data, max_prompts), victim(model(answer)))


def scores_of(answer, data, attacks=PLAIN, reference=None):
    answers = answers_of(answer, data, attacks)
    return score(answers, JUDGES["phrases"](), [attack.name for attack in attacks], reference, ALONE)


def value(scores, name):
    return scores.metrics[name].value
