"""A trial's run read back from MLflow, with the files that its configuration stands in."""

from pathlib import Path
from typing import Any

from raysafe.errors import InputError
from raysafe.tracking.mlflow.border import border, opened
from raysafe.tracking.recorded import FILES, OF_SWEEP, RecordedRun

PARENT = "mlflow.parentRunId"


def recorded_run(uri: str, run_id: str, folder: Path) -> RecordedRun:
    """The run of a trial; its files are fetched into `folder`. Raises InputError if the store has no such run, or another kind
    of run under that id, and RaysafeError if the store fails."""
    with border(uri, f"give the run {run_id}"):
        client = opened(uri)
        run = _run(client, run_id)
        tags = run.data.tags
        _fetch(client, run_id, FILES, folder)
        if PARENT in tags:
            _fetch(client, tags[PARENT], OF_SWEEP, folder)
        sweep = client.get_experiment(run.info.experiment_id).name
    status = tags.get("raysafe.status", run.info.status)
    return RecordedRun(run_id, sweep, tags.get("raysafe.key", run.info.run_name), status, dict(run.data.metrics), folder)


def _run(client: Any, run_id: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise InputError(
                f"{run_id}: MLflow knows no such run. Its id stands on its page, and in the page's address."
            ) from error
        raise
    kind = run.data.tags.get("raysafe.kind")
    if kind != "trial":
        what = f"a {kind}'s" if kind else "none of raysafe's"
        raise InputError(f"{run_id}: this run is {what}; `raysafe reproduce` takes the run of a trial.")
    return run


def _fetch(client: Any, run_id: str, names: tuple[str, ...], folder: Path) -> None:
    there = {file.path for file in client.list_artifacts(run_id)}
    for name in names:
        if name in there:
            client.download_artifacts(run_id, name, str(folder))
