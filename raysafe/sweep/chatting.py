"""A trial's model and the one that it started from, asked the same: loaded once each, with the decoding of the trial's exam."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysafe.artifacts import MANIFEST
from raysafe.config.sections import EvaluationSettings
from raysafe.config.sweeps import load_sweep
from raysafe.data.chat import ChatFormat
from raysafe.data.records import Conversation, EvalPrompt, Identity, Message
from raysafe.data.references import ModelRef
from raysafe.errors import ConfigError, DataError
from raysafe.evaluation.answering import Decoding
from raysafe.evaluation.attacks.base import case
from raysafe.evaluation.exam import judges_of
from raysafe.evaluation.judges import Judge, Question, decides
from raysafe.evaluation.roles import ROLES
from raysafe.models.folders import adapted_model, read_object
from raysafe.models.generation import greedy
from raysafe.models.loading import device_here, freeze, load_model
from raysafe.sweep.places import CONFIG, default_storage

CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class Answered:
    """What a model said, a prefilled beginning included. `refusal`: what the trial's first judge says, if it can tell."""

    answer: str
    refusal: bool | None = None


@dataclass(frozen=True)
class Speaker:
    """A loaded model. `state`: what must hold while it speaks, as adapters switched off."""

    model: Any
    chat: ChatFormat
    decoding: Decoding
    judge: Judge | None
    state: Callable[[], AbstractContextManager[Any]] = nullcontext

    def say(self, asked: Conversation, prefill: str = "") -> Answered:
        """The answer to a conversation, which goes on after `prefill`. Raises DataError if the template refuses one of them."""
        turn = self.chat.turn(asked, prefill) if prefill else None
        question = case(0, asked, self.chat, (*turn.opening, *turn.answer) if turn else ())
        pad, stop = self.chat.tokenizer.pad_token_id, self.chat.end_ids[-1]
        with self.state():
            (ids,) = greedy(self.model, [question.input_ids], pad, stop, self.decoding.max_new_tokens)
        answer = self.chat.decode([*question.prefilled, *ids])
        return Answered(answer, self._refusal(asked, answer))

    def _refusal(self, asked: Conversation, answer: str) -> bool | None:
        if self.judge is None or "refused" not in decides(self.judge):
            return None
        row = EvalPrompt(Identity("chat", 0), asked)
        try:
            (verdict,) = self.judge.judge([Question(ROLES["borderline"], row, asked, answer)])
            return verdict.hit if verdict else None
        except (KeyError, ValueError, DataError):  # a judge that needs what a typed prompt does not have
            return None


@dataclass(frozen=True)
class Couple:
    """The model of a trial and its base. `name`: of the trial."""

    name: str
    trial: Speaker
    base: Speaker

    def ask(self, prompt: str, prefill: str = "") -> tuple[Answered, Answered]:
        """Both answers, the trial's first."""
        asked = (Message("user", prompt),)
        return self.trial.say(asked, prefill), self.base.say(asked, prefill)


def trial_folder(given: str) -> Path:
    """A trial's folder, or `SWEEP/TRIAL` in the storage, where the beginning of the trial's name will do. Raises DataError."""
    path = Path(given)
    sweep, _, trial = given.rpartition("/")
    found = [path] if (path / CHECKPOINT).exists() else []
    for storage in (Path(), default_storage()):
        found = found or sorted(storage.glob(f"{sweep}/trials/{trial}*/{CHECKPOINT}") if sweep and trial else [])
    folders = [place.parent if place.name == CHECKPOINT else place for place in found]
    if len(folders) > 1:
        raise DataError(f"{given}: several trials begin so: {', '.join(folder.name for folder in folders)}.")
    if not folders:
        raise DataError(f"{given}: no trial with a checkpoint. Give its folder, STORAGE/NAME/trials/TRIAL, or NAME/TRIAL.")
    return folders[0].absolute()


def load_couple(folder: Path, max_new_tokens: int | None = None) -> Couple:
    """Load a trial's model and its base. Raises DataError if one of them is gone. An adapter's base is loaded once for both."""
    evaluation = evaluation_of(folder)
    decoding = Decoding(max_new_tokens or evaluation.max_new_tokens, evaluation.precision)
    judge = next(iter(judges_of(evaluation, [])), None)
    place = (folder / CHECKPOINT).resolve()
    base = base_of(place)
    if Path(base.folder).is_absolute() and not Path(base.folder).is_dir():
        raise DataError(f"{base.folder}: the model that the trial started from is no longer there.")
    chat = base.chat()

    def loaded(path: str) -> Any:
        return freeze(load_model(path, decoding.dtype)).to(device_here())

    model = loaded(str(place))
    trial = Speaker(model, chat, decoding, judge)
    if adapted_model(place) == base.folder:
        return Couple(folder.name, trial, Speaker(model, chat, decoding, judge, model.disable_adapter))
    return Couple(folder.name, trial, Speaker(loaded(base.folder), chat, decoding, judge))


def base_of(checkpoint: Path) -> ModelRef:
    """The model that a training started from, by its manifest. Raises DataError if it does not say."""
    model = read_object(checkpoint / MANIFEST).get("inputs", {}).get("model")
    try:
        return ModelRef(**model)
    except TypeError as error:
        raise DataError(f"{checkpoint / MANIFEST}: it does not say what the training started from.") from error


def evaluation_of(folder: Path) -> EvaluationSettings:
    """How the trial was asked and judged; the defaults where its configuration can't be read any more."""
    try:
        return load_sweep(folder / CONFIG).trials[0].config.evaluation
    except ConfigError:
        return EvaluationSettings(harmful="")
