"""A model's answers to suites: generated once, kept as files, read by any number of judges."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch

from raysafe.artifacts import OFF_KEY, write_lines
from raysafe.context import Context
from raysafe.data.chat import ChatFormat
from raysafe.data.records import Conversation, EvalPrompt, Identity, Message
from raysafe.evaluation.attacks import Case, Victim
from raysafe.evaluation.judges import Question
from raysafe.evaluation.keeping import Kept, key_of
from raysafe.evaluation.roles import ROLES
from raysafe.evaluation.sharing import in_turn
from raysafe.evaluation.suites import Suite
from raysafe.models.generation import Generate, greedy

ANSWERS = "answers.jsonl"
PROMPTS = "prompts.jsonl"


@dataclass(frozen=True)
class Decoding:
    """How answers are generated: greedily, so many tokens at most.

    `fixed_batch` is part of the key: in bf16 greedy text depends on the shape of the batch, so that prompts are batched by
    this number whatever the number of workers. In float32 it is None, and `batch_size` only a matter of memory.
    """

    max_new_tokens: int
    precision: Literal["float32", "bf16"] = "float32"
    fixed_batch: int | None = None
    batch_size: int = field(default=64, metadata=OFF_KEY)

    @property
    def dtype(self) -> torch.dtype:
        """What the model computes in."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def told(self) -> dict[str, Any]:
        """How it is done, as it is written beside the answers. `batch`: prompts of one, where it has a hand in the text."""
        order = "by prompt length, shortest first, over all suites"
        known = {"max_new_tokens": self.max_new_tokens, "precision": self.precision, "batch": self.fixed_batch, "order": order}
        return {"method": "greedy", **known}

    def batches(self, lengths: Sequence[int], workers: int) -> Iterator[list[int]]:
        """Places of the prompts that are generated together, shortest first."""
        size = self.fixed_batch or min(self.batch_size, max(1, -(-len(lengths) // workers)))
        order = sorted(range(len(lengths)), key=lambda place: lengths[place])
        return (order[start : start + size] for start in range(0, len(order), size))


@dataclass(frozen=True)
class Answer:
    """One answer. `index` and `content_hash` are its prompt's, in the file of its role, or of the attack `source` that brings one
    of its own. `answer` begins with `prefilled`, what was put into the model's mouth. `asked`: the conversation that was
    answered, where it is not the prompt itself."""

    suite: str
    role: str
    variant: str
    index: int
    content_hash: str
    prefilled: str
    answer: str
    asked: Conversation | None = None
    source: str = ""


@dataclass(frozen=True)
class Answers:
    """Answers and the prompts that they belong to, by file (an answer's `source`, or else its role) and index: all that a judge
    needs."""

    rows: tuple[Answer, ...]
    prompts: Mapping[tuple[str, int], EvalPrompt]

    def prompt_of(self, row: Answer) -> EvalPrompt:
        """The prompt behind an answer."""
        return self.prompts[row.source or row.role, row.index]

    def questions(self) -> list[Question]:
        """What a judge is asked, in the order of the rows."""
        found = [(row, self.prompt_of(row)) for row in self.rows]
        return [Question(ROLES[row.role], prompt, row.asked or prompt.prompt, row.answer, row.prefilled) for row, prompt in found]

    def save(self, folder: Path) -> None:
        """`answers.jsonl` and `prompts.jsonl`."""
        write_lines(folder / ANSWERS, [asdict(row) for row in self.rows])
        write_lines(folder / PROMPTS, [_plain_prompt(role, prompt) for (role, _), prompt in self.prompts.items()])

    @staticmethod
    def load(folder: str | Path) -> "Answers":
        """What `save` wrote. Kept for the next call: a folder of the store never changes."""
        return _load(str(folder))


def ask(suites: Sequence[Suite], victim: Victim, remembering: Generate | None = None) -> Answers:
    """Every suite's answers. All that can be asked at once goes to `generate` in one call, so that it can batch it well; attacks
    that need the model itself come after it, one by one; they may change it, so that `remembering`, which keeps answers, is
    for the others alone."""
    loaded = {(suite.role, suite.data, suite.max_prompts): suite.prompts() for suite in suites}
    asked = [(suite, loaded[suite.role, suite.data, suite.max_prompts]) for suite in suites]
    plain = [place for place, suite in enumerate(suites) if not suite.attack.needs_model]
    cases = {place: suites[place].attack.cases(asked[place][1], victim.chat) for place in plain}
    ended = iter(
        _conversations(
            [(suites[place], case) for place in plain for case in cases[place]],
            replace(victim, generate=remembering or victim.generate),
        )
    )
    answered = {place: [next(ended) for _ in cases[place]] for place in plain}
    for place, (suite, rows) in enumerate(asked):
        if suite.attack.needs_model:
            answered[place] = suite.attack.play(rows, replace(victim, suite=suite.name))
    answers = [
        _answer(suite, rows[case.place], case, text, victim.chat)
        for place, (suite, rows) in enumerate(asked)
        for case, text in answered[place]
    ]
    return Answers(
        tuple(answers), {(suite.source or suite.role, row.identity.index): row for suite, rows in asked for row in rows}
    )


def _conversations(cases: Sequence[tuple[Suite, Case]], victim: Victim) -> list[tuple[Case, str]]:
    """The last case of each conversation and its answer; all conversations that still go on are asked together."""
    now = {place: case for place, (_, case) in enumerate(cases)}
    ended: dict[int, tuple[Case, str]] = {}
    while now:
        texts = victim.generate([case.input_ids for case in now.values()])
        after = {}
        for (place, case), ids in zip(now.items(), texts, strict=True):
            text = victim.chat.decode([*case.prefilled, *ids])
            following = cases[place][0].attack.go_on(case, text, victim.chat)
            if following is None:
                ended[place] = case, text
            else:
                after[place] = following
        now = after
    return [ended[place] for place in range(len(cases))]


def _answer(suite: Suite, prompt: EvalPrompt, case: Case, text: str, chat: ChatFormat) -> Answer:
    return Answer(
        suite=suite.name,
        role=suite.role,
        variant=case.variant,
        index=prompt.identity.index,
        content_hash=prompt.content_hash,
        prefilled=chat.decode(list(case.prefilled)),
        answer=text,
        asked=None if case.asked == prompt.prompt else case.asked,
        source=suite.source,
    )


def generator(model: Any, chat: ChatFormat, decoding: Decoding, context: Context, workspace: Path | None = None) -> Generate:
    """Greedy answers of `model`, batch by batch in turn over the workers; every rank calls it and gets all answers. Equal prompts
    are answered once. workspace: where finished batches are kept, and gone on from, for as long as the model stays what it is.

    Raises StageStopped between two batches if the stage is to end.
    """
    known = Kept.of(workspace, context)

    def generate(prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        kept = known if workspace is not None else Kept(None)
        keys = [key_of(prompt) for prompt in prompts]
        different = dict(zip(keys, prompts, strict=True))

        def answered(batch: list[str]) -> list[list[int]]:
            pad, stop = chat.tokenizer.pad_token_id, chat.end_ids[-1]
            found = greedy(model, [different[key] for key in batch], pad, stop, decoding.max_new_tokens)
            kept.write(dict(zip(batch, found, strict=True)), context.rank)
            return found

        kept.add(in_turn(_to_do(different, kept.known, decoding, context.world_size), answered, context))
        return [kept.known[key] for key in keys]

    return generate


def _to_do(prompts: Mapping[str, Sequence[int]], known: Mapping[str, Any], decoding: Decoding, workers: int) -> list[list[str]]:
    """The batches that are still to be answered, as keys. Where a batch has a hand in the text, its prompts are those that it
    would have had without what is known."""
    keys = [key for key in prompts if decoding.fixed_batch or key not in known]
    batches = decoding.batches([len(prompts[key]) for key in keys], workers)
    named = ([keys[place] for place in batch] for batch in batches)
    return [batch for batch in named if not known.keys() >= set(batch)]


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """What `write_lines` wrote."""
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


@lru_cache(maxsize=4)
def _load(folder: str) -> Answers:
    prompts = {(row["role"], row["index"]): _read_prompt(**row) for row in read_lines(Path(folder) / PROMPTS)}
    rows = (row | {"asked": _turns(row["asked"]) if row["asked"] else None} for row in read_lines(Path(folder) / ANSWERS))
    return Answers(tuple(Answer(**row) for row in rows), prompts)


def _plain_prompt(role: str, prompt: EvalPrompt) -> dict[str, Any]:
    others = {name: getattr(prompt, name) for name in ("reference", "harmful", "kind", "unsafe")}
    if prompt.accept:
        others["accept"] = list(prompt.accept)
    scripts = {"scripts": [_plain_turns(script) for script in prompt.scripts]} if prompt.scripts else {}
    return {"role": role, "index": prompt.identity.index, "prompt": _plain_turns(prompt.prompt), **others, **scripts}


def _plain_turns(turns: Conversation) -> list[dict[str, str]]:
    return [asdict(turn) for turn in turns]


def _read_prompt(role: str, index: int, prompt: Any, scripts: Any = (), accept: Any = (), **others: Any) -> EvalPrompt:
    turns = tuple(map(_turns, scripts))
    return EvalPrompt(Identity(role, index), _turns(prompt), **others, scripts=turns, accept=tuple(accept))


def _turns(plain: Any) -> Conversation:
    return tuple(Message(**turn) for turn in plain)
