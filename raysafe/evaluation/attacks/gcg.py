"""A suffix for each prompt, found with the gradients of the very model that is asked (Zou et al., arXiv:2307.15043)."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from raysafe.artifacts import OFF_KEY, write_text
from raysafe.data.records import EvalPrompt
from raysafe.errors import ConfigError, require
from raysafe.evaluation.attacks.base import Attack, Case, Victim, case
from raysafe.evaluation.coordinate import Budget, Coordinates, Frame, TargetLoss, search
from raysafe.evaluation.keeping import Parts
from raysafe.evaluation.suffixes import Seat, usable_tokens

OVER = "over"
"""What a worker says whose prompts are all done."""
Found = dict[str, Any]
"""What a search ended with: `place`, `index` and `content_hash` of the prompt; `suffix`, its text; `loss`, its loss; `reached`,
whether greedy decoding gives the target after it; `losses` of the suffixes that the search was at after so many steps."""


@dataclass(frozen=True)
class Gcg(Attack):
    """Greedy coordinate gradient against each prompt that has a `harmful` answer; the defaults are the paper's.

    L = -mean log pi(the first `target_tokens` of the harmful answer | prompt, suffix). The suffix stands behind the request,
    in the user's turn. What is asked in the end is text: a suffix counts only if its text is read as its tokens.
    """

    name: ClassVar[str] = "gcg"
    needs_harmful: ClassVar[bool] = True
    needs_model: ClassVar[bool] = True
    each_epoch: ClassVar[bool] = False

    steps: int = 500
    """Steps a prompt, at most."""
    top_k: int = 256
    """Tokens that are considered at each place of the suffix."""
    batch: int = 512
    """Single swaps that are tried in a step."""
    length: int = 20
    """Tokens of the suffix."""
    initial: str | None = None
    """The suffix that a search begins with, which then has as many tokens as it has; None for `length` random tokens."""
    target_tokens: int = 10
    """Tokens of the harmful answer that the suffix is to bring about."""
    early_stop: bool = True
    """Whether a search ends as soon as greedy decoding gives the target."""
    prompts: int | None = None
    """Only the first so many harmful prompts."""
    seed: int = 0
    """Of the random draws, a prompt's own: they depend on no other prompt and on no number of workers."""
    micro_batch: int | None = field(default=None, metadata=OFF_KEY)
    """Candidates of one forward pass; None for the whole batch. A matter of memory."""

    def __post_init__(self) -> None:
        for name in ("steps", "top_k", "batch", "length", "target_tokens"):
            require(getattr(self, name) > 0, f"{name} > 0", getattr(self, name))
        for name in ("prompts", "micro_batch"):
            require(getattr(self, name) is None or getattr(self, name) > 0, f"{name} > 0", getattr(self, name))
        require(self.initial is None or bool(self.initial.strip()), "initial is a text, or none is given", self.initial)

    def play(self, prompts: Sequence[EvalPrompt], victim: Victim) -> list[tuple[Case, str]]:
        """Searches shared over the workers, then the answers to what was found; `SUITE.jsonl` beside them has the rest."""
        found = self._all_found(prompts, victim)
        places = [one["place"] for one in found]
        seats = [Seat.of(victim.chat, prompts[place].prompt) for place in places]
        texts = [one["suffix"] for one in found]
        cases = [case(*asked, victim.chat) for asked in zip(places, map(Seat.asked, seats, texts), strict=True)]
        if victim.folder is not None and victim.context.rank == 0:
            lines = [json.dumps({name: one[name] for name in one if name != "place"}, ensure_ascii=False) for one in found]
            write_text(victim.folder / f"{suite_of(victim)}.jsonl", "".join(line + "\n" for line in lines))
        answers = victim.generate([one.input_ids for one in cases])
        return [(one, victim.chat.decode(ids)) for one, ids in zip(cases, answers, strict=True)]

    def _all_found(self, prompts: Sequence[EvalPrompt], victim: Victim) -> list[Found]:
        """In the order of the prompts. The workers go step by step together, so that a stop is heard by all at the same one."""
        wanted = [place for place, prompt in enumerate(prompts) if prompt.harmful][: self.prompts]
        context = victim.context
        parts = Parts(victim.workspace, suite_of(victim), context)
        done: dict[int, Found] = dict(parts.known)
        left = [place for place in wanted if place not in done]
        work = self._searches([(place, prompts[place]) for place in left[context.rank :: context.world_size]], victim)
        going = bool(left)
        while going:
            context.check_stop()
            ended = context.gather(next(work, OVER))
            going = any(one != OVER for one in ended)
            new = {one["place"]: one for one in ended if isinstance(one, dict)}
            if new:
                done |= new
                for place, one in new.items():
                    parts.keep(place, one)
                context.report(len(done), told(done))
        return [done[place] for place in wanted]

    def _searches(self, mine: Sequence[tuple[int, EvalPrompt]], victim: Victim) -> Iterator[Found | None]:
        """One prompt after another: None after a step, and at the end of a prompt what was found."""
        for place, prompt in mine:
            yield from self._search(place, prompt, victim)

    def _search(self, place: int, prompt: EvalPrompt, victim: Victim) -> Iterator[Found | None]:
        seat, chat, draw = Seat.of(victim.chat, prompt.prompt), victim.chat, generator(self.seed, prompt)
        allowed_V = usable_tokens(chat, victim.model.get_input_embeddings().weight.shape[0])
        text = self._start(seat, allowed_V, draw)
        before, suffix, after = seat.split(text)
        turn = chat.turn(seat.asked(text), prompt.harmful or "")
        frame = Frame(tuple(before), tuple(after), (*turn.opening, *turn.answer[: self.target_tokens]))
        coordinates = Coordinates(allowed_V, partial(seat.readable, before=before, after=after), draw)
        loss = TargetLoss(victim.model, frame, self.micro_batch)
        steps = search(loss, suffix, coordinates, Budget(self.steps, self.top_k, self.batch, self.early_stop))
        found = next(steps)
        for _ in steps:
            yield None
        (text,) = seat.texts([found.suffix])
        identity = {"place": place, "index": prompt.identity.index, "content_hash": prompt.content_hash}
        yield {**identity, "suffix": text, "loss": found.loss, "reached": found.reached, "losses": found.losses}

    def _start(self, seat: Seat, allowed_V: Tensor, draw: torch.Generator) -> str:
        """The text that a search begins with. Raises ConfigError for one that can't be read as its tokens."""
        if self.initial is None:
            return seat.texts([seat.drawn(self.length, allowed_V, draw)])[0]
        text = self.initial.strip()
        before, suffix, after = seat.split(text)
        if not seat.readable([suffix], before, after)[0] or not allowed_V[suffix].all():
            raise ConfigError(
                f"`evaluation.attacks.gcg.initial`: the model's tokenizer does not read {text!r:.60} as it was written, or reads "
                "special tokens in it; take other words, or leave it out for random tokens."
            )
        return text


def suite_of(victim: Victim) -> str:
    """What files of the attack are called by."""
    return victim.suite or Gcg.name


def generator(seed: int, prompt: EvalPrompt) -> torch.Generator:
    """Random numbers of a prompt's own."""
    digest = hashlib.sha256(f"gcg {seed} {prompt.content_hash}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def told(done: Mapping[int, Found]) -> dict[str, float]:
    """Progress: prompts that are done, their mean loss, and the share whose target is reached."""
    count = len(done)
    losses, reached = sum(one["loss"] for one in done.values()), sum(one["reached"] for one in done.values())
    return {"gcg/prompts": float(count), "gcg/loss": losses / count, "gcg/reached": reached / count}
