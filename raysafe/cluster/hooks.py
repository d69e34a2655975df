"""How Ray Tune reaches the sweep: its callback tells the desk of starts and ends, its searcher asks a source for trials."""

from collections.abc import Mapping
from typing import Any

import ray
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.search import Searcher

from raysafe.sweep import signals
from raysafe.sweep.folder import TrialTask
from raysafe.sweep.search import TrialSource


class DeskCallback(TrialProgressCallback):
    """Tells the desk at once when Tune begins and ends a trial: a stop is an order, and waits for no record.

    It takes the place of Tune's own progress callback, which would print into the live table.
    """

    def __init__(self, desk: Any, logs: str) -> None:
        super().__init__()
        self.desk, self.logs = desk, logs

    def __getstate__(self) -> dict[str, Any]:
        """Tune writes its callbacks into a snapshot that nobody restores."""
        return {"desk": None, "logs": self.logs}

    def setup(self, *arguments: Any, **options: Any) -> None:
        """Tune's hook: nothing to set up."""

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune's hook, some times a second."""
        signals.check()

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
        """Tune's hook: the desk had the point first."""

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune's hook."""
        ray.get(self.desk.start.remote(name_of(trial)))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune's hook: the end of a trial, early or not."""
        ray.get(self.desk.halt.remote(name_of(trial)))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune's hook."""
        ray.get(self.desk.halt.remote(name_of(trial), f"the trial's driver failed; see {self.logs}"))


def name_of(trial: Any) -> str:
    """What we call one of Tune's trials."""
    return trial.config["task"].plan.name


class SourceSearcher(Searcher):
    """A source of trials as Tune asks for them."""

    def __init__(self, source: TrialSource, tasks: Mapping[str, TrialTask]) -> None:
        super().__init__()
        self.source, self.tasks = source, tasks
        self.names: dict[str, str] = {}

    def suggest(self, trial_id: str) -> Any:
        """Tune's hook: the next trial's configuration."""
        plan = self.source.next()
        if plan is None:
            return Searcher.FINISHED
        self.names[trial_id] = plan.name
        return {"task": self.tasks[plan.name]}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tune's hook."""
        self.source.tell(self.names[trial_id], numbers(result), ended=False)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tune's hook."""
        self.source.tell(self.names[trial_id], numbers(result or {}), ended=True)

    def save(self, checkpoint_path: str) -> None:
        """Tune's hook: a sweep is resumed from its own folder, not from Tune's."""

    def restore(self, checkpoint_path: str) -> None:
        """Tune's hook."""


def numbers(result: Mapping[str, Any]) -> dict[str, float]:
    """What in Tune's result are figures."""
    return {name: value for name, value in result.items() if isinstance(value, int | float)}
