"""What a sweep's record is told of a judge that was added: metrics of each trial, tables, the page written anew."""

from collections.abc import Sequence
from pathlib import Path

from raysafe.config.sweeps import load_sweep
from raysafe.errors import ConfigError
from raysafe.report.figures import tracked
from raysafe.report.judges import JUDGES_CSV
from raysafe.report.page import PAGE
from raysafe.report.summary import SUMMARY
from raysafe.sweep.judging_later import RowJudged
from raysafe.sweep.places import SWEEP
from raysafe.sweep.tracked_tables import Table, csv_table, verdicts_table
from raysafe.tracking.backlog import BACKLOG, Backlog
from raysafe.tracking.base import TABLES


def tell_judged(folder: Path, rows: Sequence[RowJudged]) -> None:
    """Write it into the sweep's backlog, once: each trial's figures at its run's last step, its answers with every verdict, and
    what judges agree on. A sweep without a record gets none."""
    if not (folder / BACKLOG).is_file():
        return
    backlog, log_text = Backlog(folder), _logs_text(folder)
    started, logged, news = _started(backlog), _logged(backlog), False
    for row in rows:
        run, metrics = f"trial:{row.name}", tracked(row.figures)
        step, known = logged.get(run, (0, {}))
        if run not in started or all(known.get(metric) == value for metric, value in metrics.items()):
            continue
        news = True
        again = any(metric in known for metric in metrics)  # a metric has one value a step, the first that is told
        backlog.log(run, step + again, metrics)
        _tell(backlog, run, folder / "trials" / row.name, "verdicts", verdicts_table(row.answers, row.verdicts, log_text))
    parent = next((run for run in started if run.startswith("sweep:")), None)
    if news and parent is not None:
        if (folder / JUDGES_CSV).exists():
            _tell(backlog, parent, folder, "judges", csv_table(folder / JUDGES_CSV))
        for path in (folder / PAGE, folder / SUMMARY):
            backlog.artifact(parent, path)


def _tell(backlog: Backlog, run: str, folder: Path, name: str, table: Table) -> None:
    backlog.artifact(run, table.write(folder, name), TABLES)
    backlog.note(run, {f"raysafe.table.{name}": table.note})


def _logs_text(folder: Path) -> bool:
    """Whether the sweep's record may hold texts; not where its file can't be read any more."""
    try:
        return load_sweep(folder / SWEEP).logs_text
    except ConfigError:
        return False


def _started(backlog: Backlog) -> set[str]:
    return {entry["run"] for entry in backlog.entries if entry["do"] == "start"}


def _logged(backlog: Backlog) -> dict[str, tuple[int, dict[str, float]]]:
    """The last step of every run that a metric was told of, and all that was told there."""
    found: dict[str, tuple[int, dict[str, float]]] = {}
    for entry in backlog.entries:
        if entry["do"] == "log":
            step, metrics = found.get(entry["run"], (entry["step"], {}))
            last = max(step, entry["step"])
            kept = {**(metrics if step == last else {}), **(entry["metrics"] if entry["step"] == last else {})}
            found[entry["run"]] = last, kept
    return found
