"""Generation for evaluation, shared out over the workers of a stage."""

from collections.abc import Sequence
from typing import Any

from raysafe.config.sections import EvaluationSettings
from raysafe.context import Context
from raysafe.data.chat import ChatFormat
from raysafe.models.generation import Generate, greedy


def generator(model: Any, chat: ChatFormat, settings: EvaluationSettings, context: Context) -> Generate:
    """Greedy answers of `model`, each rank generating every world_size-th prompt; all ranks get all answers."""

    def generate(prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        mine = prompts[context.rank :: context.world_size]
        order = sorted(range(len(mine)), key=lambda place: len(mine[place]))
        answers: list[list[int]] = [[] for _ in mine]
        for start in range(0, len(order), settings.batch_size):
            places = order[start : start + settings.batch_size]
            asked = [mine[place] for place in places]
            pad, stop = chat.tokenizer.pad_token_id, chat.end_ids[-1]
            for place, answer in zip(places, greedy(model, asked, pad, stop, settings.max_new_tokens), strict=True):
                answers[place] = answer
        result: list[list[int]] = [[] for _ in prompts]
        for rank, part in enumerate(context.gather(answers)):
            result[rank :: context.world_size] = part
        return result

    return generate
