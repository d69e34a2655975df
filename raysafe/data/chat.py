"""Chat templates: prompts and answers in, token ids out, with the boundary between them exact."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from raysafe.data.records import Conversation
from raysafe.errors import DataError

_PROBE = "probe"


@dataclass(frozen=True)
class ChatFormat:
    """A tokenizer with its chat template.

    An answer's tokens are those that follow the prompt when both are tokenized together, as long as the prompt's own
    tokens stay what they are alone (they do at special-token headers); else the answer is tokenized by itself, because
    at generation, too, the prompt's tokens are fixed before the answer begins. So a label never shifts.
    """

    tokenizer: Any

    def prompt_text(self, prompt: Conversation) -> str:
        """The rendered prompt, up to and with the assistant header. Raises DataError if the template refuses it."""
        turns = [{"role": turn.role, "content": turn.content} for turn in prompt]
        try:
            return self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        except Exception as error:
            roles = [turn.role for turn in prompt]
            raise DataError(f"The model's chat template refuses a conversation of roles {roles}: {error}.") from error

    def prompt_ids(self, prompt: Conversation) -> list[int]:
        """Token ids of the rendered prompt."""
        return self._ids(self.prompt_text(prompt))

    def answer_ids(self, prompt: Conversation, answer: str) -> list[int]:
        """Token ids of an answer after its prompt, without the end of the turn."""
        return self.turn_ids(prompt, answer)[1]

    def turn_ids(self, prompt: Conversation, answer: str) -> tuple[list[int], list[int]]:
        """`prompt_ids` and `answer_ids`, at the cost of one of them."""
        text = self.prompt_text(prompt)
        prompt_ids, joint_ids = self._ids(text), self._ids(text + answer)
        if joint_ids[: len(prompt_ids)] == prompt_ids:
            return prompt_ids, joint_ids[len(prompt_ids) :]
        return prompt_ids, self._ids(answer)

    @cached_property
    def end_ids(self) -> list[int]:
        """What the template emits after an answer, up to and with its first special token: the end of the turn."""
        turns = [{"role": "user", "content": _PROBE}]
        full = self.tokenizer.apply_chat_template([*turns, {"role": "assistant", "content": _PROBE}], tokenize=False)
        tail_ids = self._ids(full[full.rindex(_PROBE) + len(_PROBE) :])
        special = set(self.tokenizer.all_special_ids) | set(self.tokenizer.added_tokens_decoder)
        for position, token in enumerate(tail_ids):
            if token in special:
                return tail_ids[: position + 1]
        if self.tokenizer.eos_token_id is None:
            raise DataError("The chat template ends an answer without a special token and the tokenizer has no eos token.")
        return [self.tokenizer.eos_token_id]

    def decode(self, ids: list[int]) -> str:
        """The text of generated tokens, up to the end of the turn."""
        stop = self.end_ids[-1]
        if stop in ids:
            ids = ids[: ids.index(stop)]
        return self.tokenizer.decode(ids, skip_special_tokens=True).strip()

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]


def load_chat_format(folder: str, chat_template: str | None = None) -> ChatFormat:
    """The tokenizer of a model folder; `chat_template` is a Jinja file for one that brings none.

    Raises DataError if there is no tokenizer or no template.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: no tokenizer can be loaded from it ({error}).") from error
    if chat_template is not None:
        tokenizer.chat_template = Path(chat_template).read_text(encoding="utf-8")
    if not tokenizer.chat_template:
        raise DataError(
            f"{folder}: its tokenizer brings no chat template. Write one as a Jinja file and name it in "
            "`model.chat_template`, or take the model's instruction-tuned form."
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return ChatFormat(tokenizer)
