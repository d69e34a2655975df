"""Generation shared out over the workers of a stage."""

import tiny
import torch

from raysafe.config.sections import EvaluationSettings
from raysafe.context import local_context
from raysafe.data.chat import ChatFormat
from raysafe.evaluation.generating import generator
from raysafe.models.generation import greedy

SETTINGS = EvaluationSettings(harmful="sandbox", max_new_tokens=6, batch_size=2)


class Ranks:
    """Rank `rank` of three that share a memory: what the others answered is looked up."""

    world_size, device = 3, torch.device("cpu")

    def __init__(self, rank, answers):
        self.rank, self.answers = rank, answers

    def gather(self, value):
        assert value == self.answers[self.rank :: 3]
        return [self.answers[rank::3] for rank in range(3)]


def setting():
    chat = ChatFormat(tiny.byte_tokenizer(tiny.LLAMA3))
    model = tiny.llama(len(chat.tokenizer))
    prompts = [chat.prompt_ids(tiny.ask("x" * n)) for n in range(1, 8)]
    return chat, model, prompts, greedy(model, prompts, chat.tokenizer.pad_token_id, chat.end_ids[-1], 6)


def test_one_process_answers_everything_in_order():
    chat, model, prompts, expected = setting()
    assert generator(model, chat, SETTINGS, local_context())(prompts) == expected


def test_every_rank_answers_its_share_and_gets_all_answers():
    chat, model, prompts, expected = setting()
    for rank in range(3):
        assert generator(model, chat, SETTINGS, Ranks(rank, expected))(prompts) == expected
