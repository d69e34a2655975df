"""The record in MLflow, which is imported only when a tracker is made, since that takes seconds."""

import json
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from raysafe.errors import InputError
from raysafe.tracking.base import (
    DESCRIPTION,
    TABLES,
    DatasetSpec,
    EndStatus,
    ModelSpec,
    RunSpec,
    View,
    changed_tags,
    safe_tags,
    short_text,
    split_finite,
    without_password,
)
from raysafe.tracking.mlflow.border import border, opened
from raysafe.tracking.stores import sqlite_path
from raysafe.tracking.views import view_tag

_STATUS: dict[EndStatus, str] = {"FINISHED": "FINISHED", "STOPPED": "FINISHED", "FAILED": "FAILED", "INTERRUPTED": "KILLED"}
_BATCH = 100
"""MLflow takes at most 100 parameters and 1,000 metrics in a call."""
_SHOWN = "mlflow.loggedArtifacts"
_Point = tuple[str, int]


class MlflowTracker:
    """A Tracker on an MLflow store: `uri` as `--tracking-uri` takes it, `experiment` the sweep's name.

    Artifacts of a sqlite store lie beside it, under `mlartifacts/EXPERIMENT`; a server keeps them where it is told to.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        self._uri = uri
        self._told: dict[str, set[_Point]] = defaultdict(set)
        self._resumed: set[tuple[str, str]] = set()
        path = sqlite_path(uri)
        with self._border("be opened"):
            self._client = opened(uri)
            self._experiment_id = self._experiment(experiment, path)

    def start(self, run: RunSpec, time_ms: int | None = None) -> str:
        with self._border(f"start the run of {run.kind} {run.name}"):
            found = self._find(run)
            old = dict(found.data.params) if found else {}
            params = run.all_params()
            tags = run.all_tags() | changed_tags(old, params) | {"raysafe.status": "RUNNING"}
            if run.parent:
                tags["mlflow.parentRunId"] = run.parent
            if "raysafe.question" in tags:
                tags.setdefault(DESCRIPTION, tags["raysafe.question"])
            tags = _with_mlflows_names(tags)
            run_id = self._reopened(found, run.name, tags) if found else self._created(run.name, tags, time_ms)
            self._log_params(run_id, {name: value for name, value in params.items() if name not in old})
            return run_id

    def log(self, run_id: str, step: int, metrics: Mapping[str, float], time_ms: int | None = None) -> None:
        from mlflow.entities import Metric

        finite, others = split_finite(metrics)
        now = int(time.time() * 1000) if time_ms is None else time_ms
        with self._border(f"keep the metrics of step {step}"), self._doubted(run_id, finite):
            self._recall(run_id, finite)
            new = [name for name in sorted(finite) if (name, step) not in self._told[run_id]]
            if new:
                self._client.log_batch(run_id, metrics=[Metric(name, finite[name], now, step) for name in new])
                self._told[run_id] |= {(name, step) for name in new}
            if others:
                self._client.set_tag(run_id, "raysafe.not_finite", f"step {step}: {', '.join(others)}")

    def note(self, run_id: str, tags: Mapping[str, str]) -> None:
        with self._border("keep a run's tags"):
            here = {name: text.replace("{experiment}", self._experiment_id) for name, text in tags.items()}
            self._set_tags(run_id, _with_mlflows_names(safe_tags(here)))

    def artifact(self, run_id: str, path: Path, folder: str = "") -> None:
        keep = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        with self._border(f"keep {path}"):
            keep(run_id, str(path), folder or None)
            if folder == TABLES:
                self._show_table(run_id, f"{folder}/{path.name}")

    def dataset(self, run_id: str, dataset: DatasetSpec) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = json.dumps({"uri": without_password(dataset.path)})
        profile = None if dataset.rows is None else json.dumps({"num_rows": dataset.rows})
        entity = Dataset(dataset.name, dataset.fingerprint, "local", source, profile=profile)
        with self._border(f"note dataset {dataset.name}"):
            self._client.log_inputs(run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", dataset.context)])])

    def model(self, run_id: str, model: ModelSpec) -> None:
        with self._border(f"note the model {model.name}"):
            known = self._model(run_id, model)
            if model.register_as:
                self._register(run_id, model.register_as, known)

    def view(self, view: View, time_ms: int | None = None) -> None:
        name, text = view_tag(view, int(time.time() * 1000) if time_ms is None else time_ms)
        with self._border(f"keep the view {view.name}"):
            self._client.set_experiment_tag(self._experiment_id, name, text)

    def end(self, run_id: str, status: EndStatus, error: str = "", time_ms: int | None = None) -> None:
        with self._border(f"end a run as {status}"):
            self._client.set_tag(run_id, "raysafe.status", status)
            if error:
                self._client.set_tag(run_id, "raysafe.error", short_text(error))
            self._client.set_terminated(run_id, _STATUS[status], time_ms)
        self._told.pop(run_id, None)

    def answers(self) -> bool:
        try:
            self._client.set_experiment_tag(self._experiment_id, "raysafe.heard", str(int(time.time())))
        except Exception:  # whatever it is, it is no answer
            return False
        return True

    @contextmanager
    def _doubted(self, run_id: str, names: Mapping[str, float]) -> Iterator[None]:
        """A server may have kept what it gave no answer to: after a failure its record is read before anything is told again."""
        try:
            yield
        except BaseException:
            self._resumed |= {(run_id, name) for name in names}
            raise

    def _border(self, doing: str) -> AbstractContextManager[None]:
        return border(self._uri, doing)

    def _experiment(self, name: str, path: Path | None) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            location = (path.parent / "mlartifacts" / name).as_uri() if path else None
            return self._client.create_experiment(name, artifact_location=location)
        if found.lifecycle_stage == "deleted":
            raise InputError(
                f"MLflow's experiment {name} has been deleted: restore it with "
                f"`mlflow experiments restore -x {found.experiment_id}`, or give the sweep another name."
            )
        return found.experiment_id

    def _find(self, run: RunSpec) -> Any:
        query = f"tags.`raysafe.kind` = '{run.kind}' and tags.`raysafe.key` = '{run.key}'"
        runs = self._client.search_runs([self._experiment_id], query, max_results=1, order_by=["attributes.start_time DESC"])
        return runs[0] if runs else None

    def _created(self, name: str, tags: dict[str, str], time_ms: int | None) -> str:
        return self._client.create_run(self._experiment_id, time_ms, tags, name).info.run_id

    def _reopened(self, found: Any, name: str, tags: Mapping[str, str]) -> str:
        run_id = found.info.run_id
        self._client.update_run(run_id, status="RUNNING", name=name)
        self._told.pop(run_id, None)
        self._resumed |= {(run_id, metric) for metric in found.data.metrics}
        self._set_tags(run_id, tags)
        return run_id

    def _set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        for chunk in _chunks(tags):
            self._client.log_batch(run_id, tags=[RunTag(tag, value) for tag, value in chunk])

    def _log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        for chunk in _chunks(params):
            self._client.log_batch(run_id, params=[Param(name, value) for name, value in chunk])

    def _show_table(self, run_id: str, path: str) -> None:
        """Name a file in the tag by which MLflow's page knows tables, once."""
        shown = json.loads(self._client.get_run(run_id).data.tags.get(_SHOWN, "[]"))
        table = {"path": path, "type": "table"}
        if table not in shown:
            self._client.set_tag(run_id, _SHOWN, json.dumps([*shown, table]))

    def _model(self, run_id: str, model: ModelSpec) -> Any:
        """The model of a run and name, made as `create_external_model` does, which makes another each time."""
        from mlflow.entities import LoggedModelOutput

        name = re.sub(r"[/:.%\"']", "_", model.name)
        query = f"name = '{name}' AND source_run_id = '{run_id}'"
        found = list(self._client.search_logged_models([self._experiment_id], query))
        tags = {"mlflow.model.isExternal": "true", "raysafe.path": without_password(model.path)}
        made = (
            found[0] if found else self._client.create_logged_model(self._experiment_id, name, run_id, tags, None, "checkpoint")
        )
        outputs = self._client.get_run(run_id).outputs
        if made.model_id not in {output.model_id for output in (outputs.model_outputs if outputs else [])}:
            self._client.log_outputs(run_id, [LoggedModelOutput(made.model_id, 0)])
        return self._client.finalize_logged_model(made.model_id, "READY")

    def _register(self, run_id: str, name: str, model: Any) -> None:
        """Make the model a version of a registered one, unless its run has made one already."""
        if not list(self._client.search_registered_models(f"name = '{name}'")):
            self._client.create_registered_model(name)
        if not list(self._client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")):
            self._client.create_model_version(
                name, model.artifact_location, run_id, {"raysafe.path": model.tags["raysafe.path"]}, model_id=model.model_id
            )

    def _recall(self, run_id: str, names: Mapping[str, float]) -> None:
        """Read what a resumed run already holds of these metrics: MLflow would keep a row told again a second time."""
        for name in names:
            if (run_id, name) in self._resumed:
                self._resumed.discard((run_id, name))
                self._told[run_id] |= {(name, old.step) for old in self._client.get_metric_history(run_id, name)}


def _with_mlflows_names(tags: Mapping[str, str]) -> dict[str, str]:
    return {"mlflow.note.content" if name == DESCRIPTION else name: value for name, value in tags.items()}


def _chunks(pairs: Mapping[str, str]) -> Iterator[list[tuple[str, str]]]:
    items = iter(pairs.items())
    while chunk := list(islice(items, _BATCH)):
        yield chunk
