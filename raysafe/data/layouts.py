"""The layouts of public data, each recognised by its keys and read as it is (docs/data.md lists them)."""

import re
from collections.abc import Callable
from typing import Any

from raysafe.data.records import Conversation, Message, Speaker
from raysafe.data.sources import Record
from raysafe.errors import DataError

_SPEAKERS: dict[str, Speaker] = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
}
_TURN = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant): ?")


def text_of(record: Record, key: str, place: str) -> str:
    """The text under a key. Raises DataError naming place and key."""
    value = record.get(key)
    if not isinstance(value, str):
        raise DataError(f"{place}: `{key}` takes a text, but got {value!r:.60}.")
    return value


def _text_or_empty(record: Record, key: str, place: str) -> str:
    return text_of(record, key, place) if record.get(key) else ""


def optional_text(record: Record, key: str, place: str) -> str | None:
    """The text under a key, None where it is not given."""
    return text_of(record, key, place) if record.get(key) is not None else None


def truth(record: Record, key: str, place: str) -> bool | None:
    """true or false under a key, None where it is not given; as text in a CSV file."""
    value = record.get(key)
    value = {"true": True, "false": False, "": None}.get(value.lower(), value) if isinstance(value, str) else value
    if value is not None and not isinstance(value, bool):
        raise DataError(f"{place}: `{key}` takes true or false, but got {value!r:.60}.")
    return value


def columns(record: Record) -> set[str]:
    """The keys that a row has a value for: tables that hold several layouts leave the others' columns null."""
    return {key for key, value in record.items() if value is not None}


def prompt_of(value: Any, place: str) -> Conversation:
    """A prompt given as text or as a list of messages; it ends with a user turn."""
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    turns = messages_of(value, place)
    if not turns or turns[-1].role != "user":
        raise DataError(f"{place}: a prompt ends with a user turn, but got {[turn.role for turn in turns]}.")
    return turns


def script_of(value: Any, place: str) -> Conversation:
    """What an attacker wrote beforehand: a text, messages, or a list of texts, which are the user's turns. It ends with one."""
    if isinstance(value, list) and all(isinstance(turn, str) for turn in value):
        value = [{"role": "user", "content": turn} for turn in value]
    elif isinstance(value, list) and all(isinstance(turn, dict) and "from" in turn for turn in value):
        return prompt_of([{"role": turn["from"], "content": turn.get("value")} for turn in value], place)
    return prompt_of(value, place)


def messages_of(value: Any, place: str, speaker: str = "role", content: str = "content") -> Conversation:
    """A list of {"role", "content"} (or {"from", "value"}) objects."""
    if not isinstance(value, list):
        raise DataError(f"{place}: a list of messages is expected, but got {value!r:.60}.")
    turns = []
    for item in value:
        role = _SPEAKERS.get(str(item.get(speaker))) if isinstance(item, dict) else None
        if role is None or not isinstance(item.get(content), str):
            raise DataError(f"{place}: a message takes `{speaker}` and `{content}`, but got {item!r:.80}.")
        turns.append(Message(role, item[content]))
    return tuple(turns)


def _last_answer(turns: Conversation, place: str) -> tuple[Conversation, str]:
    if len(turns) < 2 or turns[-1].role != "assistant" or turns[-2].role != "user":
        raise DataError(f"{place}: a user turn and its answer must end it, but got {[turn.role for turn in turns]}.")
    return turns[:-1], turns[-1].content


def _messages(record: Record, place: str) -> tuple[Conversation, str]:
    if prefix_of(record) is not None:
        raise DataError(f"{place}: a `prefix` turn belongs to alignment rows (`data.align`), not to this role.")
    return _last_answer(messages_of(record["messages"], place), place)


def prefix_of(record: Record) -> str | None:
    """The `prefix` turn of an augmented row of the DOOR release, if there is one."""
    turns = record.get("messages")
    turns = turns if isinstance(turns, list) else []
    return next((str(turn.get("content", "")) for turn in turns if _is_prefix(turn)), None)


def _is_prefix(turn: Any) -> bool:
    return isinstance(turn, dict) and turn.get("role") == "prefix"


def prefixed_answer(record: Record, place: str) -> tuple[Conversation, str, str | None]:
    """Prompt, answer and, if the row is augmented, the prefix that the answer continues after."""
    prefix = prefix_of(record)
    if prefix is None:
        return *prompt_and_answer(record, place), None
    turns = [turn for turn in record["messages"] if not _is_prefix(turn)]
    return *_last_answer(messages_of(turns, place), place), prefix


def _conversations(record: Record, place: str) -> tuple[Conversation, str]:
    return _last_answer(messages_of(record["conversations"], place, "from", "value"), place)


def _alpaca(record: Record, place: str) -> tuple[Conversation, str]:
    instruction, extra = text_of(record, "instruction", place), _text_or_empty(record, "input", place)
    prompt = f"{instruction}\n\n{extra}" if extra else instruction
    return prompt_of(prompt, place), text_of(record, "output", place)


def _open_orca(record: Record, place: str) -> tuple[Conversation, str]:
    system = _text_or_empty(record, "system_prompt", place)
    prompt = prompt_of(text_of(record, "question", place), place)
    return ((Message("system", system), *prompt) if system else prompt), text_of(record, "response", place)


def _prompt_and(answer: str) -> Callable[[Record, str], tuple[Conversation, str]]:
    return lambda record, place: (prompt_of(record["prompt"], place), answer_of(record, answer, place))


def answer_of(record: Record, key: str, place: str) -> str:
    """An answer given as text or as a list with one assistant message."""
    value = record.get(key)
    if isinstance(value, list):
        turns = messages_of(value, place)
        if turns and turns[-1].role == "assistant":
            return turns[-1].content
    return text_of(record, key, place)


ANSWERED: tuple[tuple[frozenset[str], Callable[[Record, str], tuple[Conversation, str]]], ...] = (
    (frozenset({"messages"}), _messages),
    (frozenset({"conversations"}), _conversations),
    (frozenset({"instruction", "output"}), _alpaca),
    (frozenset({"question", "response"}), _open_orca),
    (frozenset({"prompt", "response"}), _prompt_and("response")),
    (frozenset({"prompt", "completion"}), _prompt_and("completion")),
    (frozenset({"prompt", "chosen"}), _prompt_and("chosen")),
)


def prompt_and_answer(record: Record, place: str) -> tuple[Conversation, str]:
    """Prompt and answer of a row in any layout of `ANSWERED`.

    Raises DataError naming place and keys, also for a row that two layouts would read differently: one of them is wrong.
    """
    given = columns(record)
    fitting = [(keys, reader) for keys, reader in ANSWERED if keys <= given]
    if not fitting:
        takes = "; ".join(" and ".join(sorted(keys)) for keys, _ in ANSWERED)
        raise DataError(f"{place}: no known layout: got the keys {', '.join(sorted(given))}, but a row takes {takes}.")
    first = fitting[0][1](record, place)
    for keys, reader in fitting[1:]:
        if reader(record, place) != first:
            one, other = (" and ".join(sorted(each)) for each in (fitting[0][0], keys))
            raise DataError(f"{place}: by {one} it is another row than by {other}; leave only the columns that are meant.")
    return first


def preference(record: Record, place: str) -> tuple[Conversation, str, str]:
    """Prompt, chosen and rejected answer of a preference row; with no `prompt`, of two transcripts (HH-RLHF)."""
    if not {"chosen", "rejected"} <= record.keys():
        got = ", ".join(sorted(record))
        raise DataError(f"{place}: a triple takes prompt, chosen and rejected, but got the keys {got}.")
    if "prompt" in record:
        prompt = prompt_of(record["prompt"], place)
        return prompt, answer_of(record, "chosen", place), answer_of(record, "rejected", place)
    prompt, chosen = _transcript(record["chosen"], place)
    other, rejected = _transcript(record["rejected"], place)
    if prompt != other:
        raise DataError(f"{place}: `chosen` and `rejected` differ before the last answer.")
    return prompt, chosen, rejected


def _transcript(value: Any, place: str) -> tuple[Conversation, str]:
    if isinstance(value, list):
        return _last_answer(messages_of(value, place), place)
    pieces = _TURN.split(value) if isinstance(value, str) else []
    roles = {"Human": "user", "Assistant": "assistant"}
    turns = tuple(
        Message("user" if roles[who] == "user" else "assistant", said.strip())
        for who, said in zip(pieces[1::2], pieces[2::2], strict=False)
    )
    return _last_answer(turns, place)
