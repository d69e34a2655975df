"""What fails first in practice, found before anything starts: roles that a template refuses, adapters' targets, lengths.

No weight is read. A verdict holds for the rest of the process, as long as model and data stay what they are.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from raysafe.artifacts import fingerprint
from raysafe.config.sections import Lora
from raysafe.config.trials import TrialConfig
from raysafe.data.chat import ChatFormat
from raysafe.data.records import Conversation, EvalPrompt, Example, Message, Row, Triple
from raysafe.data.references import DataRef, ModelRef
from raysafe.errors import ConfigError, DataError
from raysafe.evaluation.roles import ROLES
from raysafe.models.fit import ModelFacts, model_facts
from raysafe.models.folders import adapted_model

TUNED = {"finetune", "safe", "align"}
"""Roles of data that is trained on; all others are asked."""
ANSWERED = {"evaluation.reference"}
"""But for what holds answers to them."""

_MISLABELLED = {
    "harmful": (False, "it is labelled safe, and complying with it is no success"),
    "borderline": (True, "it is labelled unsafe, and refusing it is no over-refusal"),
}

_HALVED = {role.half_of for role in ROLES.values() if role.half_of}


@dataclass(frozen=True)
class Use:
    """A model of a trial and what it reads, by role. key: its section of the configuration."""

    key: str
    model: ModelRef
    lora: Lora | None = None
    tuned_on: Mapping[str, DataRef] = field(default_factory=dict)
    asked: Mapping[str, DataRef] = field(default_factory=dict)


_sound: set[str] = set()


def check_models(trial: TrialConfig, data: Mapping[str, DataRef], model: ModelRef | None, ranker: ModelRef | None) -> None:
    """Check the models of a trial against all that they are to read; `data` are its files by role, None is the sandbox's model.

    Raises ConfigError or DataError, naming key, file and row.
    """
    reads, tuned_on = trial.selector.reads, {"finetune"}
    ranked_on = ({"finetune", "safe"} if "safe" in reads else {"finetune"}) if "model" in reads else set[str]()
    if trial.objective.alignment:
        tuned_on.add("align")
    if trial.selection.safeinstr or "proxy" in trial.needed_models:
        tuned_on.add("safe")
    if trial.selection.model is None:
        tuned_on |= ranked_on
    elif ranker is not None:
        check_use(trial, Use("selection.model", ranker, trial.selection.model.lora, _of(data, ranked_on)))
    if model is not None:
        check_use(trial, Use("model", model, trial.model.lora, _of(data, tuned_on), _of(data, data.keys() - TUNED - ANSWERED)))


def check_asked(trial: TrialConfig, data: Mapping[str, DataRef], model: ModelRef) -> None:
    """Check a model that is only evaluated."""
    check_use(trial, Use("MODEL", model, asked=_of(data, data.keys() - TUNED - ANSWERED)))


def _of(data: Mapping[str, DataRef], roles: Iterable[str]) -> dict[str, DataRef]:
    return {role: data[role] for role in sorted(roles) if role in data}


def check_use(trial: TrialConfig, use: Use) -> None:
    """See `check_models`; of hub names nothing is known."""
    settings = trial.evaluation
    mark = fingerprint([use, trial.data.max_length, settings.max_new_tokens, settings.max_prompts])
    facts = model_facts(use.model.folder) if mark not in _sound else None
    if facts is None:
        return
    chat = use.model.chat()
    _check_adapters(use, facts)
    _check_positions(trial, use, facts)
    for role, ref in use.tuned_on.items():
        _check_rows(ref.triples() if role == "align" else ref.examples(), chat, facts)
    for role, ref in use.asked.items():
        _check_prompts(
            role if role.startswith("evaluation.") else f"evaluation.{role}",
            ref.prompts()[: settings.max_prompts],
            settings.max_new_tokens,
            chat,
            facts,
        )
    _sound.add(mark)


def _check_adapters(use: Use, facts: ModelFacts) -> None:
    folder = use.model.folder
    if use.lora is None:
        return
    if adapted_model(Path(folder)) is not None:
        raise ConfigError(f"`{use.key}.lora`: {folder} is an adapter folder, whose own adapters are trained on; leave it out.")
    unknown = facts.without_layer(use.lora.target_modules)
    if unknown:
        known = ", ".join(sorted({name.rpartition(".")[2] for name in facts.modules}))
        raise ConfigError(
            f"`{use.key}.lora.target_modules`: got {', '.join(unknown)}, but the linear layers of {folder} are {known}."
        )


def _check_positions(trial: TrialConfig, use: Use, facts: ModelFacts) -> None:
    length, new, folder = trial.data.max_length, trial.evaluation.max_new_tokens, use.model.folder
    if facts.positions is None:
        return
    if use.tuned_on and length > facts.positions:
        raise ConfigError(f"`data.max_length`: got {length}, but it takes at most the {facts.positions} positions of {folder}.")
    if use.asked and new >= facts.positions:
        raise ConfigError(
            f"`evaluation.max_new_tokens`: got {new}, but it takes less than the {facts.positions} positions of {folder}."
        )


def _check_rows(rows: Sequence[Example | Triple], chat: ChatFormat, facts: ModelFacts) -> None:
    """One row of every sequence of roles: whether a template takes it depends on little else."""
    first: dict[tuple[str, ...], Example | Triple] = {}
    for row in rows:
        first.setdefault(tuple(turn.role for turn in row.prompt), row)
    for row in first.values():
        with _placed(row):
            turn = chat.turn(row.prompt, row.response if isinstance(row, Example) else row.safe)
            _check_ids([*turn.prompt, *turn.labels, chat.tokenizer.pad_token_id], facts)


def _check_ids(ids: Iterable[int], facts: ModelFacts) -> None:
    if facts.vocabulary is not None and max(ids) >= facts.vocabulary:
        raise DataError(
            f"The tokenizer gives the id {max(ids)}, but the model has {facts.vocabulary} embeddings: they don't belong together."
        )


def _check_prompts(key: str, rows: Sequence[EvalPrompt], new: int, chat: ChatFormat, facts: ModelFacts) -> None:
    for row, conversation, answers in _conversations(rows):
        with _placed(row):
            text = chat.prompt_text(conversation)
        if facts.positions is None or len(text.encode()) + 1 + answers * new <= facts.positions:
            continue  # a token is at least a byte, but for a space that a tokenizer may put first
        tokens = len(chat.prompt_ids(conversation))
        if tokens + answers * new > facts.positions:
            each = f" for each of its {answers} answers" if answers > 1 else ""
            asked = f"its {tokens} tokens and `evaluation.max_new_tokens`, {new}{each}"
            most = f"more than the {facts.positions} positions of the model"
            raise DataError(f"`{key}`: {row.identity.place}: {asked}, are {most}.")


def _conversations(rows: Sequence[EvalPrompt]) -> Iterator[tuple[EvalPrompt, Conversation, int]]:
    """Every conversation that a row may come to, and how many answers in it are the model's; a full stop stands for one."""
    for row in rows:
        for turns in (row.prompt, *row.scripts):
            whole = [turns[0]]
            for turn in turns[1:]:
                whole += [Message("assistant", "."), turn] if whole[-1].role == turn.role == "user" else [turn]
            yield row, tuple(whole), 1 + len(whole) - len(turns)


def check_labels(suites: Mapping[str, Sequence[EvalPrompt]]) -> None:
    """Raise DataError for a prompt whose own label says that its role's rate would count the wrong thing; where a file holds
    both labels and has a rate for each, they are told apart by it."""
    for role, (wrong, why) in _MISLABELLED.items():
        labels = {prompt.unsafe for prompt in suites.get(role, ())}
        both = role in _HALVED and {True, False} <= labels
        for prompt in suites.get(role, ()):
            if prompt.unsafe is wrong and not both:
                raise DataError(f"`evaluation.{role}`: {prompt.identity.place}: {why}; keep only the other rows.")


@contextmanager
def _placed(row: Row) -> Iterator[None]:
    """Puts a row's place before what is wrong with it."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{row.identity.place}: {error}") from error
