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
        answers = greedy(
            model,
            mine,
            chat.tokenizer.pad_token_id,
            chat.end_ids[-1],
            settings.max_new_tokens,
            settings.batch_size,
            context.device,
        )
        result: list[list[int]] = [[] for _ in prompts]
        for rank, part in enumerate(context.gather(answers)):
            result[rank :: context.world_size] = part
        return result

    return generate
