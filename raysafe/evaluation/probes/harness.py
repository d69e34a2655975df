"""Utility by EleutherAI's lm-evaluation-harness on the model in memory: MMLU, HellaSwag, any task, also from local files."""

import hashlib
import logging
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, redirect_stderr
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution, version
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch

from raysafe.artifacts import OFF_KEY, fingerprint, with_own
from raysafe.context import Context
from raysafe.data.sources import stamp
from raysafe.errors import ConfigError, StageError, require
from raysafe.evaluation.intervals import wilson
from raysafe.evaluation.metrics import Rate
from raysafe.evaluation.probes.base import Probe, Reading, Subject, Value
from raysafe.evaluation.sharing import in_turn

KEY = "evaluation.probes.harness"
PREFERRED = ("acc_norm", "acc", "exact_match")
"""The metric of a task is the first of these that it has, of several filters the one that it lists first."""
ROUND = 16
"""Batches of requests that a worker does before it looks whether to stop."""
_NAME = re.compile(r"""^(?:task|group):\s*["']?([\w.\-]+)""", re.MULTILINE)
_OFFLINE = (
    "A task's data comes from the Hugging Face hub, or from its cache (`HF_HOME`); where there is no network, name a folder of "
    "task files with local data in `include`."
)


@dataclass(frozen=True)
class Harness(Probe):
    """Accuracy of the harness's tasks, `utility_TASK`, each with Wilson's interval of its n rows."""

    name: ClassVar[str] = "harness"
    figure: ClassVar[str] = "utility"
    needs_harmful: ClassVar[bool] = False
    alone: ClassVar[bool] = True

    tasks: tuple[str, ...]
    """Names of tasks, groups or tags: mmlu, hellaswag, ..."""
    include: str | None = field(default=None, metadata=OFF_KEY)
    """A folder of task files (YAML), whose tasks come before those of the same name; relative paths in them start there."""
    limit: int | None = None
    """Only the first so many rows of each task."""
    fewshot: int | None = None
    """Examples before each question; what the task says where it is left out."""
    chat: bool = False
    """Whether questions are put into the model's chat template; published figures are mostly without."""
    batch_size: int = 16
    """Requests at once on a worker."""
    library: str = field(default="", init=False)
    """The harness's version, which has its tasks' versions in it."""
    files: str = field(default="", init=False)
    """The content of the folder's files."""

    def __post_init__(self) -> None:
        require(len(self.tasks) > 0, "tasks names at least one", self.tasks)
        require(len(set(self.tasks)) == len(self.tasks), "tasks are all different", self.tasks)
        for name in ("limit", "batch_size"):
            require(getattr(self, name) is None or getattr(self, name) > 0, f"{name} > 0", getattr(self, name))
        require(self.fewshot is None or self.fewshot >= 0, "fewshot >= 0", self.fewshot)

    def found(self) -> Self:
        """With the library's version and the fingerprint of the folder; no task that nobody knows."""
        try:
            library = version("lm-eval")
        except PackageNotFoundError as error:
            raise ConfigError(f"`{KEY}`: needs the package lm-eval: pip install 'raysafe[harness]'.") from error
        folder = Path(self.include).absolute() if self.include is not None else None
        if folder is not None and not any(folder.glob("**/*.yaml")):
            raise ConfigError(f"`{KEY}.include`: {self.include}: no such folder, or no task file (.yaml) in it.")
        known = names_in(folder, stamp(folder)) if folder is not None else frozenset[str]()
        for task in self.tasks:
            if task not in known and task not in library_names() and task not in every_name(folder):
                close = get_close_matches(task, [*known, *library_names()], n=3)
                hint = f" Did you mean {' or '.join(close)}?" if close else ""
                raise ConfigError(f"`{KEY}.tasks`: got {task!r}, which lm-eval {library} doesn't know.{hint}")
        return with_own(self, library=library, files=content_of(folder, stamp(folder)) if folder is not None else "")

    def read(self, subject: Subject) -> Reading:
        """All tasks in one go, requests shared out over the workers. Raises StageError where a task can't be loaded or scored."""
        with subject.policy.generating() as model, _undisturbed():
            results = _evaluate(self, model, subject)
        told = subject.context.gather(results and _told(self, results))[0]
        return Reading(*told)


def _evaluate(probe: Harness, model: Any, subject: Subject) -> Any:
    """The harness's own results; None where its environment calls this process another's second."""
    from lm_eval import simple_evaluate

    folder = Path(probe.include).absolute() if probe.include is not None else None
    if subject.context.rank == 0:
        manager = _manager(probe, folder)  # first here alone, so that data is fetched once
        manager.load(list(probe.tasks))
    subject.context.barrier()
    lm = _shared(model, subject, probe.batch_size)
    return simple_evaluate(
        model=lm,
        tasks=list(probe.tasks),
        num_fewshot=probe.fewshot,
        limit=probe.limit,
        apply_chat_template=probe.chat,
        task_manager=_manager(probe, folder),
        bootstrap_iters=0,
        log_samples=True,
    )


def _manager(probe: Harness, folder: Path | None) -> Any:
    """The tasks that there are: the folder's alone where it has all that are asked for, as the library's take seconds to list."""
    from lm_eval.tasks import TaskManager

    class Manager(TaskManager):
        """One that finds local data and tells what can't be loaded by its key."""

        def load(self, task_list: Any) -> Any:
            try:
                with chdir(folder or Path.cwd()):
                    loaded = super().load(task_list)
            except Exception as error:  # whatever the library, the data's and the task's own code raise
                said = " ".join(str(error).split())[:300].rstrip(". ")
                raise StageError(f"`{KEY}.tasks`: {', '.join(probe.tasks)}: can't be loaded: {said}. {_OFFLINE}") from error
            for name, task in loaded["tasks"].items():
                if getattr(task, "UNSAFE_CODE", False) or getattr(task, "MULTIMODAL", False):
                    raise StageError(f"`{KEY}.tasks`: {name} runs code that a model wrote, or needs pictures; neither is done.")
            return loaded

    known = names_in(folder, stamp(folder)) if folder is not None else frozenset[str]()
    return Manager(include_path=folder, include_defaults=not known >= set(probe.tasks))


def _shared(model: Any, subject: Subject, batch_size: int) -> Any:
    """The model as the harness sees it, asked by all workers at once: every one builds the same requests, does every
    world_size-th round of them and gets all replies. Rounds don't depend on the number of workers, so neither do scores."""
    from lm_eval.models.huggingface import HFLM

    context: Context = subject.context

    class Shared(HFLM):
        def loglikelihood(self, requests: Any, disable_tqdm: bool = True) -> Any:
            return _in_rounds(requests, super().loglikelihood, batch_size, context)

        def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = True) -> Any:
            return _in_rounds(requests, super().loglikelihood_rolling, batch_size, context)

        def generate_until(self, requests: Any, disable_tqdm: bool = True) -> Any:
            return _in_rounds(requests, super().generate_until, batch_size, context)

    return Shared(pretrained=model, tokenizer=subject.chat.tokenizer, batch_size=batch_size, trust_remote_code=False)


def _in_rounds(requests: Sequence[Any], work: Callable[..., list[Any]], batch_size: int, context: Context) -> list[Any]:
    size = batch_size * ROUND
    rounds = [list(range(start, min(start + size, len(requests)))) for start in range(0, len(requests), size)]
    found = in_turn(rounds, lambda places: work([requests[place] for place in places], disable_tqdm=True), context)
    return [found[place] for place in range(len(requests))]


Told = tuple[dict[str, Rate], list[Value], dict[str, str]]


def _told(probe: Harness, results: Mapping[str, Any]) -> Told:
    """Rates, values and notes of every task that was asked for; a tag is its tasks."""
    rates, values, notes = dict[str, Rate](), list[Value](), {"lm-eval": probe.library}
    for task in _reported(probe.tasks, results):
        metric, filtered = _metric_of(task, results["results"][task])
        leaves = _leaves(task, results)
        samples = [(leaf, one) for leaf in leaves for one in results["samples"][leaf] if one["filter"] == filtered]
        share = float(results["results"][task][f"{metric},{filtered}"])
        rates[f"utility_{task}"] = wilson(share * len(samples), len(samples))
        values += [Value(task, int(one["doc_id"]), one["doc_hash"][:32], float(one[metric]), leaf) for leaf, one in samples]
        of = sorted({f"version {results['versions'].get(leaf)}, {results['n-shot'].get(leaf, 0)}-shot" for leaf in leaves})
        notes[task] = f"{metric} ({filtered}), {'; '.join(of)}, {len(samples)} rows"
    return rates, values, notes


def _reported(tasks: Sequence[str], results: Mapping[str, Any]) -> list[str]:
    """The names with results of their own: those that were asked for, and for a tag all that nobody named."""
    named = [task for task in tasks if task in results["results"]]
    if len(named) == len(tasks):
        return named
    inside = {leaf for task in named for leaf in _leaves(task, results)}
    return [
        *named,
        *(task for task in results["results"] if task not in inside and task not in named and task in results["samples"]),
    ]


def _leaves(task: str, results: Mapping[str, Any]) -> list[str]:
    children = results.get("group_subtasks", {}).get(task) or []
    return [leaf for child in children for leaf in _leaves(child, results)] if children else [task]


def _metric_of(task: str, found: Mapping[str, Any]) -> tuple[str, str]:
    """(metric, filter) of a task."""
    split = [key.partition(",")[::2] for key in found if "," in key]
    for metric in PREFERRED:
        filters = [filtered for name, filtered in split if name == metric]
        if filters:
            return metric, filters[0]
    has = ", ".join(sorted({name for name, _ in split if not name.endswith("_stderr")})) or "nothing"
    raise StageError(f"`{KEY}.tasks`: {task} tells {has}, but a task is taken that tells one of {', '.join(PREFERRED)}.")


@contextmanager
def _undisturbed() -> Iterator[None]:
    """The harness seeds what belongs to the process, and tells of itself in logs and bars: afterwards all is as it was."""
    log = logging.getLogger("lm_eval")
    level, states = log.level, (random.getstate(), np.random.get_state())
    log.setLevel(logging.CRITICAL)
    try:
        with torch.random.fork_rng(), redirect_stderr(StringIO()):
            yield
    finally:
        log.setLevel(level)
        random.setstate(states[0])
        np.random.set_state(states[1])


@lru_cache(maxsize=8)
def names_in(folder: Path, stamps: Any) -> frozenset[str]:
    """Tasks and groups that the files of a folder define, read once as long as they stay what they are."""
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in sorted(folder.rglob("*.yaml")))
    return frozenset(name for text in texts for name in _NAME.findall(text))


@lru_cache(maxsize=1)
def library_names() -> frozenset[str]:
    """Those of the library itself, without importing it."""
    return names_in(Path(str(distribution("lm-eval").locate_file("lm_eval/tasks"))), None)


@lru_cache(maxsize=4)
def every_name(folder: Path | None) -> frozenset[str]:
    """As the library lists them, tags and generated tasks too; it takes seconds."""
    from lm_eval.tasks import TaskManager

    return frozenset(TaskManager(include_path=folder).all_tasks)


@lru_cache(maxsize=8)
def content_of(folder: Path, stamps: Any) -> str:
    """16 hex digits over all files of a folder, and over local data that its task files name elsewhere."""
    inside = [path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in inside if path.suffix == ".yaml"]
    words = {word for text in texts for word in re.findall(r"[^\s\"',\[\]{}]+", text)}
    outside = [path for word in sorted(words) if (path := folder / word).is_file() and path not in inside]
    return fingerprint([[path.name, hashlib.sha256(path.read_bytes()).hexdigest()] for path in [*inside, *outside]])
