"""Chat templates: prompts and answers in, token ids out, with the boundaries between them exact.

The ids of an answer are those of the conversation rendered *with* the answer in it, since that is what the model was tuned on: a
template may put a space (Mistral, Llama-2) or a closed thought (Qwen3) before an answer, trim it, or strip its thoughts, none of
which can be seen from the rendered prompt.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from raysafe.data.records import Conversation, Message
from raysafe.errors import DataError

_ANSWER = "probe"
_PROBE = (Message("user", "ask"), Message("assistant", _ANSWER))
_THOUGHT = "</think>"
_DAY = datetime(2024, 7, 26)
"""What templates that ask for today's date are told, so that equal rows have equal ids on every day; Llama-3.1's own default."""
_CLOCK = "".join(f" | replace('%{code}', '{_DAY.strftime('%' + code)}')" for code in "aAbBdHIjmMpSyY")
_FIXED_DAY = "{%- macro strftime_now(format) -%}{{ format" + _CLOCK + " }}{%- endmacro -%}"


@dataclass(frozen=True)
class Turn:
    """Token ids of a prompt with its answer.

    prompt: what the model is asked with, up to and with the assistant header. opening: what the template puts before an answer,
    where that makes tokens of its own. given: the beginning of the answer that is not the model's. answer: the rest of it, a
    space that merged into its first token included. end: the end of the turn, up to and with its special token.
    """

    prompt: list[int]
    opening: list[int]
    given: list[int]
    answer: list[int]
    end: list[int]

    @property
    def labels(self) -> list[int]:
        """What the model is to say after `prompt` and, where there is one, `given`."""
        return [*([] if self.given else self.opening), *self.answer, *self.end]


@dataclass(frozen=True)
class _Rendered:
    """A turn's text in the same pieces."""

    prompt: str
    opening: str
    given: str
    answer: str
    end: str


@dataclass(frozen=True)
class ChatFormat:
    """A tokenizer with its chat template.

    Prompt and answer are tokenized together, as long as the prompt's own tokens stay what they are alone (they do at special
    tokens); else what follows the prompt is tokenized by itself, because at generation, too, the prompt's tokens are fixed before
    the answer begins. So a label never shifts.
    """

    tokenizer: Any

    def prompt_text(self, prompt: Conversation) -> str:
        """The rendered prompt, up to and with the assistant header. Raises DataError if the template refuses it."""
        return self._render(prompt, generate=True)

    def conversation_text(self, turns: Conversation) -> str:
        """A whole conversation as the template renders it; one that ends with a user turn has the assistant header behind it."""
        return self._render(turns, generate=turns[-1].role == "user")

    def prompt_ids(self, prompt: Conversation) -> list[int]:
        """Token ids of the rendered prompt."""
        return self._ids(self.prompt_text(prompt))

    def turn(self, prompt: Conversation, answer: str, given: str = "") -> Turn:
        """Token ids of a prompt and its answer, which goes on after `given`; the latter never merges with what follows.

        Raises DataError if the template refuses the conversation or does not render the answer.
        """
        text = self._pieces(prompt, answer, given)
        prompt_ids = self._ids(text.prompt)
        opening_ids = self._behind(text.prompt, prompt_ids, text.opening)
        head, start, said = text.prompt, list[int](), text.opening + text.answer
        if text.given:
            start = self._behind(head, prompt_ids, text.opening + text.given)
            head, said = head + text.opening + text.given, text.answer
        rest = self._behind(head, prompt_ids + start, said + text.end)
        opened = _common(start or rest, opening_ids)
        stop = len(rest) - len(self.end_ids) if text.end else len(rest)
        if text.end and rest[stop:] != self.end_ids:  # the answer's last token and the end merged
            stop = _common(rest, self._behind(head, prompt_ids + start, said))
        answer_ids = rest[:stop] if start else rest[opened:stop]
        return Turn(prompt_ids, (start or rest)[:opened], start[opened:], answer_ids, rest[stop:] if text.end else self.end_ids)

    @cached_property
    def end_ids(self) -> list[int]:
        """What the template emits after an answer, up to and with its first special token: the end of the turn."""
        frame = self._frame
        if frame.end:
            before = frame.prompt + frame.opening + frame.answer
            ids = self._ids(before + frame.end)
            return ids[_common(ids, self._ids(before)) :]
        if self.tokenizer.eos_token_id is None:
            raise DataError("The chat template ends an answer without a special token and the tokenizer has no eos token.")
        return [self.tokenizer.eos_token_id]

    def decode(self, ids: list[int]) -> str:
        """The text of generated tokens, up to the end of the turn."""
        stop = self.end_ids[-1]
        if stop in ids:
            ids = ids[: ids.index(stop)]
        return self.tokenizer.decode(ids, skip_special_tokens=True).strip()

    def _pieces(self, prompt: Conversation, answer: str, given: str) -> _Rendered:
        head, whole = self.prompt_text(prompt), self._render((*prompt, Message("assistant", given + answer)))
        start, stop = self._span(whole, given + answer)
        if whole.startswith(head) and start >= len(head):
            opening = whole[len(head) : start]
        else:  # the answer changes what stands before it; the prompt stays what the model is asked with
            opening = self._frame.opening if whole[:start].endswith(self._frame.opening) else ""
        said, end = whole[start:stop], whole[stop : len(whole) - len(self._tail)] + self._frame.end if self._frame.end else ""
        rest = next((text for text in (answer, answer.rstrip()) if given and said.endswith(text)), said)
        if given.strip() and rest == said:
            raise DataError(f"The model's chat template does not render the prefix {given!r:.60} at the beginning of an answer.")
        return _Rendered(head, opening, said[: len(said) - len(rest)], rest, end)

    def _span(self, whole: str, answer: str) -> tuple[int, int]:
        """Where an answer stands in its conversation; if it was trimmed or lost its thoughts, what is left of it."""
        body = whole.removesuffix(self._tail)
        if whole.endswith(self._tail):
            if body.endswith(answer):
                return len(body) - len(answer), len(body)
            trimmed = body.rstrip()
            for said in (answer.strip(), answer.rpartition(_THOUGHT)[2].strip()):
                if said and trimmed.endswith(said):
                    return len(trimmed) - len(said), len(trimmed)
            if not answer.strip():
                return len(body), len(body)
        raise DataError(f"The model's chat template does not render the answer {answer!r:.60} where an answer stands.")

    @cached_property
    def _tail(self) -> str:
        """All that the template puts behind the last answer of a conversation."""
        before, found, tail = self._render(_PROBE).rpartition(_ANSWER)
        if not found:
            raise DataError("The model's chat template does not render an assistant's answer as it is.")
        return tail

    @cached_property
    def _frame(self) -> _Rendered:
        """What the template puts around an answer, learned from one: its opening and its end."""
        head, whole = self._render(_PROBE[:1], generate=True), self._render(_PROBE)
        before = whole[: len(whole) - len(self._tail) - len(_ANSWER)]
        opening = before[len(head) :] if before.startswith(head) else ""
        end = self._tail[: _turn_end(self.tokenizer, self._tail)]
        return _Rendered(before[: len(before) - len(opening)], opening, "", _ANSWER, end)

    def _render(self, turns: Conversation, generate: bool = False) -> str:
        plain, template = [{"role": turn.role, "content": turn.content} for turn in turns], self._template
        try:
            return self.tokenizer.apply_chat_template(
                plain, chat_template=template, tokenize=False, add_generation_prompt=generate
            )
        except Exception as error:
            roles = [turn.role for turn in turns]
            raise DataError(f"The model's chat template refuses a conversation of roles {roles}: {error}.") from error

    @cached_property
    def _template(self) -> str:
        template = self.tokenizer.get_chat_template()
        return _FIXED_DAY + template if "strftime_now" in template else template

    def _behind(self, head: str, head_ids: list[int], text: str) -> list[int]:
        """Token ids of a text behind another: in its company, or by itself where the two would merge."""
        if not text:
            return []
        ids = self._ids(head + text)
        return ids[len(head_ids) :] if ids[: len(head_ids)] == head_ids else self._alone(text)

    def _alone(self, text: str) -> list[int]:
        """Token ids of a text by itself that is no beginning: behind a special token, as some tokenizers put a space first."""
        anchor = self.tokenizer.eos_token or ""
        anchor_ids = self._ids(anchor)
        ids = self._ids(anchor + text)
        return ids[len(anchor_ids) :] if ids[: len(anchor_ids)] == anchor_ids else self._ids(text)

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]


def _common(one: list[int], other: list[int]) -> int:
    """How many tokens two lists begin with alike."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _turn_end(tokenizer: Any, tail: str) -> int:
    """How much of what follows an answer belongs to its turn: up to and with the first special token; nothing without one."""
    added = (token.content for token in tokenizer.added_tokens_decoder.values())
    places = [(tail.index(name), -len(name)) for name in {*tokenizer.all_special_tokens, *added} if name.strip() and name in tail]
    place, size = min(places, default=(0, 0))
    return place - size


def load_tokenizer(folder: str) -> Any:
    """The tokenizer of a model folder. Raises DataError if there is none, or if it needs code of its own."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # transformers raises whatever its parts raise
        raise DataError(f"{folder}: no tokenizer can be loaded from it ({' '.join(str(error).split())[:300]}).") from error


def load_chat_format(folder: str, chat_template: str | None = None) -> ChatFormat:
    """The tokenizer of a model folder; `chat_template` is a Jinja file for one that brings none.

    Raises DataError if there is no tokenizer, if it needs code of its own, or if there is no template.
    """
    tokenizer = load_tokenizer(folder)
    if chat_template is not None:
        try:
            tokenizer.chat_template = Path(chat_template).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"`model.chat_template`: {chat_template}: can't be read ({error}).") from error
    if not tokenizer.chat_template:
        raise DataError(
            f"{folder}: its tokenizer brings no chat template. Write one as a Jinja file and name it in "
            "`model.chat_template`, or take the model's instruction-tuned form."
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token_id is None:
        raise DataError(f"{folder}: its tokenizer has neither a padding nor an end token.")
    return ChatFormat(tokenizer)
